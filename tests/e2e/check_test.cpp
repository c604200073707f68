// Whole runs of `cohort check`, also where a limit stands in the way.

#include <chrono>
#include <csignal>
#include <set>
#include <sstream>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "support/subprocess.hpp"

namespace cohort {
namespace {

using nlohmann::json;
using testing::HasSubstr;

/// Runs `cohort check` in a shell that has done `before`.
test::Finished check(const std::string& flags, const std::string& before = ":") {
  return test::Subprocess(
             {"/bin/sh", "-c", before + "; exec " COHORT_BUILD_DIR "/cohort check " + flags})
      .wait(test::patience(std::chrono::seconds(60)));
}

json row_of(const json& document, const std::string& name) {
  for (const json& row : document["rows"]) {
    if (row["name"] == name) return row;
  }
  return {{"status", "no row " + name}};
}

TEST(CheckCommand, TwoRanksRunHereAndEveryRowSaysWhatItMeans) {
  // Of GPUs as if there were none.
  const test::Finished finished = check("--json", "export COHORT_CUDA_PLUGIN=/nowhere");
  ASSERT_EQ(finished.exit_code, 0) << finished.output << finished.errors;
  EXPECT_EQ(finished.errors, "");
  const json document = json::parse(finished.output);
  EXPECT_EQ(document["schema"], 1);
  EXPECT_EQ(document["ok"], true);
  std::set<std::string> names;
  for (const json& row : document["rows"]) {
    EXPECT_EQ(row.size(), 5u) << row;
    EXPECT_FALSE(row["value"].get<std::string>().empty()) << row;
    EXPECT_FALSE(row["meaning"].get<std::string>().empty()) << row;
    EXPECT_NE(row["status"], "problem") << row;
    EXPECT_EQ(row["remedy"].get<std::string>().empty(), row["status"] == "ok") << row;
    names.insert(row["name"]);
  }
  EXPECT_EQ(names, (std::set<std::string>{"kernel",
                                          "clock",
                                          "cpus",
                                          "cores",
                                          "memory_nodes",
                                          "memory",
                                          "huge_pages",
                                          "processes",
                                          "open_files",
                                          "address_space",
                                          "file_size",
                                          "locked_memory",
                                          "memfd",
                                          "pidfd",
                                          "sandbox",
                                          "join",
                                          "shared_memory",
                                          "spin_round_trip",
                                          "futex_round_trip",
                                          "gpus",
                                          "peers"}));
  EXPECT_THAT(row_of(document, "join")["value"], HasSubstr("2 ranks in "));
  EXPECT_THAT(row_of(document, "futex_round_trip")["value"], HasSubstr("us"));
}

TEST(CheckCommand, TheTableEndsWithTheOutcome) {
  const test::Finished finished = check("--ranks 3 --arena 1MiB");
  ASSERT_EQ(finished.exit_code, 0) << finished.output << finished.errors;
  EXPECT_THAT(finished.output, HasSubstr("3 ranks with arenas of 1.0 MiB need 3.1 MiB."));
  EXPECT_THAT(finished.output, HasSubstr("\n3 ranks can run here"));
  EXPECT_THAT(finished.output, HasSubstr(" of 2 pairs"));
  std::istringstream lines(finished.output);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 80u) << line;
}

TEST(CheckCommand, TellsOfGpusWhatThePluginSays) {
  const test::Finished finished =
      check("--json", "export COHORT_NCCL_LIBRARY=/nowhere COHORT_CUDA_PLUGIN=" FAKE_PLUGIN);
  ASSERT_EQ(finished.exit_code, 0) << finished.output << finished.errors;
  const json document = json::parse(finished.output);
  EXPECT_THAT(row_of(document, "gpus")["value"], HasSubstr("4 x fake (1.0 GiB, "));
  EXPECT_THAT(row_of(document, "gpu_driver")["meaning"], HasSubstr(FAKE_PLUGIN));
  EXPECT_EQ(row_of(document, "gpu_links")["value"], "NVLink between all");
  EXPECT_EQ(row_of(document, "gpu_memory")["status"], "ok");
  EXPECT_EQ(row_of(document, "nccl")["value"], "not found");
}

TEST(CheckCommand, OneRankNeedsNoOther) {
  const test::Finished finished = check("--ranks 1 --json");
  ASSERT_EQ(finished.exit_code, 0) << finished.output << finished.errors;
  EXPECT_EQ(row_of(json::parse(finished.output), "spin_round_trip")["value"], "not measured");
}

TEST(CheckCommand, TooFewDescriptorsAreAProblem) {
  const test::Finished finished = check("--ranks 8 --json", "ulimit -n 20");
  EXPECT_EQ(finished.exit_code, 1);
  const json document = json::parse(finished.output);
  EXPECT_EQ(document["ok"], false);
  EXPECT_EQ(row_of(document, "open_files")["status"], "problem");
  EXPECT_EQ(row_of(document, "open_files")["value"], "at most 20");
  EXPECT_THAT(row_of(document, "open_files")["remedy"], HasSubstr("ulimit -n"));
  EXPECT_EQ(row_of(document, "join")["status"], "problem");
  EXPECT_THAT(row_of(document, "join")["meaning"], HasSubstr("Too many open files"));
}

TEST(CheckCommand, AnArenaBeyondAllMemoryIsAProblem) {
  const test::Finished finished = check("--arena 60000GiB");
  EXPECT_EQ(finished.exit_code, 1);
  EXPECT_THAT(finished.output, HasSubstr("\nproblem  memory "));
  EXPECT_THAT(finished.output, HasSubstr("\n2 ranks cannot run here: see memory"));
}

TEST(CheckCommand, ARankThatTheKernelEndsIsAFindingNotAnError) {
  // Shared memory counts as a file, and the kernel ends who makes too large a one.
  const test::Finished finished = check("--json", "ulimit -f 1");
  EXPECT_EQ(finished.exit_code, 1);
  const json document = json::parse(finished.output);
  EXPECT_EQ(row_of(document, "file_size")["status"], "problem");
  EXPECT_EQ(row_of(document, "join")["status"], "problem");
  EXPECT_THAT(row_of(document, "join")["meaning"], HasSubstr("File size limit"));
}

// Sanitizers reserve more addresses than any limit would leave them.
TEST(CheckLimits, TooFewAddressesAreAProblemThatARankHasSeen) {
  const test::Finished finished = check("--ranks 4 --json", "ulimit -v 3000000");
  EXPECT_EQ(finished.exit_code, 1);
  const json row = row_of(json::parse(finished.output), "address_space");
  EXPECT_EQ(row["status"], "problem");
  EXPECT_EQ(row["value"], "2.9 GiB");
  EXPECT_THAT(row["meaning"], HasSubstr("was refused"));
}

TEST(CheckCommand, AnInterruptEndsTheRanksAndIsNoFinding) {
  test::Subprocess command({COHORT_BUILD_DIR "/cohort", "check", "--ranks", "64"},
                           {{"COHORT_CHECK_TEST", "interrupt"}});
  const auto deadline = std::chrono::steady_clock::now() + test::patience(std::chrono::seconds(30));
  // The command itself, and a rank.
  while (test::processes_with_variable("COHORT_CHECK_TEST", "interrupt").size() < 2 &&
         std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  command.signal(SIGINT);
  const test::Finished finished = command.wait(test::patience(std::chrono::seconds(60)));
  EXPECT_EQ(finished.exit_code, 130) << finished.output << finished.errors;
  EXPECT_EQ(finished.output, "");
  EXPECT_TRUE(test::processes_with_variable("COHORT_CHECK_TEST", "interrupt").empty());
}

}  // namespace
}  // namespace cohort
