// Whole measurements of the command, as small as they can be.

#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "support/report_data.hpp"
#include "support/subprocess.hpp"

namespace cohort {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

test::Finished bench(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {COHORT_BUILD_DIR "/cohort", "bench", "--quick"});
  return test::Subprocess(arguments).wait(test::patience(std::chrono::seconds(60)));
}

class BenchCommand : public testing::Test {
 protected:
  BenchCommand()
      : folder_(fs::temp_directory_path() / ("cohort-bench-test-" + std::to_string(::getpid()))) {
    fs::create_directories(folder_);
  }
  ~BenchCommand() override { fs::remove_all(folder_); }

  /// A program that stands in for the peer `shm`.
  void write_peer(const std::string& text) const {
    const fs::path path = folder_ / "shm";
    std::ofstream(path) << text;
    fs::permissions(path, fs::perms::owner_all);
  }

  fs::path folder_;
};

TEST_F(BenchCommand, MeasuresEveryOperationOnTwoRanksWithoutPeers) {
  const fs::path plot = folder_ / "plot.svg";
  const fs::path report = folder_ / "report.html";
  const test::Finished finished =
      bench({"--peers", "none", "--bytes", "8,16Ki", "--json", "--verbose", "--plot", plot.string(),
             "--report", report.string()});
  ASSERT_EQ(finished.exit_code, 0) << finished.errors;
  EXPECT_THAT(finished.errors, HasSubstr("bench: all_reduce 16.0 KiB on 2 ranks"));
  const auto document = nlohmann::json::parse(finished.output);
  // 4 collectives x 2 sizes x 2 homes of operands; barrier, agreement, explain and local.
  EXPECT_EQ(document["rows"].size(), 4u * 2 * 2 + 4);
  for (const auto& row : document["rows"]) {
    EXPECT_GT(row["p50_us"], 0) << row;
    EXPECT_LE(row["min_us"], row["p50_us"]) << row;
    EXPECT_LE(row["p50_us"], row["p99_us"]) << row;
    EXPECT_TRUE(row["peers"].empty()) << row;
  }
  EXPECT_EQ(document["rows"][0]["path"], "host_inline");
  EXPECT_EQ(document["rows"][2]["path"], "host_direct");
  EXPECT_TRUE(document["rows"][0]["references"].contains("yield_barrier"));
  EXPECT_TRUE(document["rows"][2]["references"].contains("memcpy"));
  for (const auto& rank : document["ranks"]) {
    EXPECT_EQ(rank["registrations"], 0);
    EXPECT_LE(rank["planned_bytes"], rank["measured_bytes"].get<std::size_t>() + 4096);
    EXPECT_LE(rank["measured_bytes"], rank["planned_bytes"].get<std::size_t>() + 4096);
  }
  EXPECT_GT(fs::file_size(plot), 1000u);
  EXPECT_EQ(test::report_data(report).at("bench"), document);
}

TEST_F(BenchCommand, MoreRanksThanCpusAndIntegers) {
  const test::Finished finished =
      bench({"--peers", "none", "--ranks", "3", "--dtype", "i64", "--ops",
             "reduce_scatter,all_gather", "--bytes", "8,40Ki"});
  ASSERT_EQ(finished.exit_code, 0) << finished.errors;
  EXPECT_THAT(finished.output, HasSubstr("reduce_scatter"));
}

TEST_F(BenchCommand, InPlaceResultsAreCheckedToo) {
  const test::Finished finished =
      bench({"--peers", "none", "--ranks", "3", "--ops", "all_reduce,all_gather,broadcast",
             "--bytes", "12,24Ki", "--in-place", "--json"});
  ASSERT_EQ(finished.exit_code, 0) << finished.errors;
  const auto document = nlohmann::json::parse(finished.output);
  EXPECT_EQ(document["rows"].size(), 8u);
  for (const auto& row : document["rows"]) {
    EXPECT_EQ(row["in_place"], true);
    EXPECT_NE(row["op"], "broadcast");
  }
}

TEST_F(BenchCommand, APathIsPinned) {
  for (const char* path : {"host_inline", "host_direct"}) {
    const test::Finished finished =
        bench({"--peers", "none", "--ops", "all_gather", "--bytes", "4Ki", "--path", path});
    ASSERT_EQ(finished.exit_code, 0) << finished.errors;
    EXPECT_THAT(finished.output, HasSubstr(path));
  }
}

TEST_F(BenchCommand, APeerThatEndsIsNamedAndTheRestIsMeasured) {
  write_peer("#!/bin/sh\necho 'no such device' >&2\nexit 3\n");
  const test::Finished finished =
      bench({"--peers", "shm", "--peer-folder", folder_.string(), "--ops", "barrier"});
  ASSERT_EQ(finished.exit_code, 0) << finished.errors;
  EXPECT_THAT(finished.output, HasSubstr("not compared with shm: shm cannot be measured"));
  EXPECT_THAT(finished.output, HasSubstr("barrier"));
}

TEST_F(BenchCommand, AWrongResultOfAPeerIsToldAndNotTimed) {
  write_peer(R"(#!/usr/bin/env python3
import os, socket
rank, ranks = os.environ["COHORT_RANK"], os.environ["COHORT_WORLD_SIZE"]
line = socket.socket(socket.AF_UNIX)
line.connect("\0" + os.environ["COHORT_BENCH_SOCKET"])
line.sendall(f"rank {rank} of {ranks}\n".encode())
for request in line.makefile():
    verb = request.split()[0]
    if verb == "quit":
        break
    line.sendall(b"wrong element 5 is 1 instead of 2\n")
)");
  const test::Finished finished = bench({"--peers", "shm", "--peer-folder", folder_.string(),
                                         "--ops", "all_reduce", "--bytes", "64", "--json"});
  ASSERT_EQ(finished.exit_code, 0) << finished.errors;
  const auto document = nlohmann::json::parse(finished.output);
  EXPECT_TRUE(document["rows"][0]["peers"].empty());
  EXPECT_THAT(document["remarks"].dump(), HasSubstr("wrong element 5 is 1 instead of 2"));
}

TEST_F(BenchCommand, APeerThatIsAskedForByNameMustBeThere) {
  const test::Finished finished = bench({"--peers", "shm", "--peer-folder", folder_.string()});
  EXPECT_EQ(finished.exit_code, 2);
  EXPECT_THAT(finished.errors, HasSubstr("--peers shm: no program"));
}

}  // namespace
}  // namespace cohort
