// Decode steps measured by the command, on host memory and on GPUs that are the fake's.

#include <unistd.h>

#include <filesystem>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "support/report_data.hpp"
#include "support/subprocess.hpp"

namespace cohort {
namespace {

using testing::HasSubstr;
using testing::Not;

test::Finished bench_layer(std::vector<std::string> arguments,
                           const std::string& plugin = COHORT_FAKE_GPUS) {
  const std::string command = COHORT_BUILD_DIR "/cohort";
  arguments.insert(arguments.begin(),
                   {command, "bench", "layer", "--quick", "--hidden", "64", "--layers", "2"});
  return test::Subprocess(arguments, {{"COHORT_CUDA_PLUGIN", plugin}})
      .wait(test::patience(std::chrono::seconds(60)));
}

TEST(BenchLayer, TimesAStepOnHostMemory) {
  const test::Finished finished = bench_layer({"--rows", "1,7", "--json"});
  ASSERT_EQ(finished.exit_code, 0) << finished.errors;
  const auto document = nlohmann::json::parse(finished.output);
  EXPECT_EQ(document["device"], "host");
  EXPECT_EQ(document["attn_dp"], 2);
  ASSERT_EQ(document["rows"].size(), 2U);
  for (const auto& row : document["rows"]) {
    EXPECT_GT(row["step"]["p50_us"], 0);
    EXPECT_FALSE(row.contains("launched"));
    // Rows that cannot be halved need the form with counts.
    ASSERT_EQ(row["calls"].size(), 2U);
    EXPECT_EQ(row["calls"][0]["op"], "all_gatherv");
    EXPECT_EQ(row["calls"][1]["op"], "reduce_scatterv");
    EXPECT_THAT(row["calls"][1]["path"], HasSubstr("host_"));
    EXPECT_EQ(row["calls"][1]["reason"], "ok");
  }
}

TEST(BenchLayer, TimesAGraphOnGpus) {
  const test::Finished finished =
      bench_layer({"--device", "cuda", "--rows", "1,8", "--tp", "4", "--attn-dp", "2", "--json"});
  ASSERT_EQ(finished.exit_code, 0) << finished.errors;
  const auto document = nlohmann::json::parse(finished.output);
  EXPECT_EQ(document["device"], "cuda");
  ASSERT_EQ(document["rows"].size(), 2U);
  for (const auto& row : document["rows"]) {
    EXPECT_GT(row["step"]["p50_us"], 0);
    EXPECT_GT(row["launched"]["p50_us"], 0);
    EXPECT_EQ(row["calls"].size(), 4U);
    for (const auto& call : row["calls"]) EXPECT_THAT(call["path"], HasSubstr("gpu_"));
  }
}

TEST(BenchLayer, WritesAReportOfTheDocument) {
  namespace fs = std::filesystem;
  const fs::path page =
      fs::temp_directory_path() / ("cohort-layer-" + std::to_string(::getpid()) + ".html");
  const test::Finished finished =
      bench_layer({"--rows", "1,2", "--tp", "4", "--attn-dp", "2", "--json", "--report", page});
  ASSERT_EQ(finished.exit_code, 0) << finished.errors;
  const auto report = test::report_data(page);
  fs::remove(page);
  EXPECT_EQ(report.at("kind"), "layer");
  EXPECT_EQ(report.at("layer"), nlohmann::json::parse(finished.output));
  EXPECT_EQ(report.at("layout").at("groups").at("attn_tp").size(), 2U);
  EXPECT_EQ(report.at("boundaries").at(0).at("boundaries").size(), 5U);
  const test::Finished refused = bench_layer({"--report", "no-folder/layer.html"});
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_THAT(refused.errors, HasSubstr("--report no-folder/layer.html"));
}

TEST(BenchLayer, NormsRideWithTheSums) {
  for (const char* device : {"host", "cuda"}) {
    const test::Finished finished =
        bench_layer({"--device", device, "--norm", "--rows", "1,6", "--tp", "3", "--json"});
    ASSERT_EQ(finished.exit_code, 0) << finished.errors;
    const auto document = nlohmann::json::parse(finished.output);
    EXPECT_EQ(document["norm"], true);
    for (const auto& row : document["rows"]) EXPECT_GT(row["step"]["p50_us"], 0);
  }
}

TEST(BenchLayer, TheTableNamesTheCalls) {
  const test::Finished finished = bench_layer({"--tp", "2", "--attn-dp", "1", "--dtype", "f32"});
  ASSERT_EQ(finished.exit_code, 0) << finished.errors;
  EXPECT_THAT(finished.output, HasSubstr("hidden 64 f32"));
  EXPECT_THAT(finished.output, HasSubstr("all_reduce attn_tp"));
  EXPECT_THAT(finished.output, Not(HasSubstr("launched")));
}

TEST(BenchLayer, WithoutGpusItSaysSo) {
  const test::Finished finished = bench_layer({"--device", "cuda"}, "/nowhere/plugin.so");
  EXPECT_EQ(finished.exit_code, 2);
  EXPECT_THAT(finished.errors, HasSubstr("/nowhere/plugin.so"));
}

TEST(BenchLayer, WrongFlagsAreRefused) {
  const auto refusal = [](const std::vector<std::string>& arguments) {
    const test::Finished finished = bench_layer(arguments);
    EXPECT_EQ(finished.exit_code, 2);
    return finished.errors;
  };
  EXPECT_THAT(refusal({"--device", "tpu"}), HasSubstr("--device does not know 'tpu'"));
  EXPECT_THAT(refusal({"--dtype", "f16"}), HasSubstr("it takes f32 or bf16"));
  EXPECT_THAT(refusal({"--rows", "0"}), HasSubstr("--rows"));
  EXPECT_THAT(refusal({"--tp", "3", "--attn-dp", "2"}), HasSubstr("--attn-dp"));
  EXPECT_THAT(refusal({"--pp", "2"}), HasSubstr("--pp"));
  EXPECT_THAT(refusal({"--rowz", "2"}),
              HasSubstr("unknown flag '--rowz' for 'cohort bench layer'"));
}

TEST(BenchLayer, FlagsOfBenchComeBehindIt) {
  const test::Finished finished =
      test::Subprocess({COHORT_BUILD_DIR "/cohort", "bench", "--quick", "layer"})
          .wait(test::patience(std::chrono::seconds(60)));
  EXPECT_EQ(finished.exit_code, 2);
  EXPECT_THAT(finished.errors, HasSubstr("--quick must come after 'layer'"));
}

test::Finished bench_on_gpus(std::vector<std::string> arguments) {
  const std::string command = COHORT_BUILD_DIR "/cohort";
  arguments.insert(arguments.begin(), {command, "bench", "--quick", "--json", "--device", "cuda",
                                       "--seconds", "0.001", "--rounds", "1"});
  return test::Subprocess(arguments, {{"COHORT_CUDA_PLUGIN", COHORT_FAKE_GPUS}})
      .wait(test::patience(std::chrono::seconds(60)));
}

TEST(BenchOnGpus, ChecksAndTimesEveryOperationInGraphs) {
  const test::Finished finished = bench_on_gpus({"--bytes", "4Ki"});
  ASSERT_EQ(finished.exit_code, 0) << finished.errors;
  const auto document = nlohmann::json::parse(finished.output);
  EXPECT_EQ(document["device"], "cuda");
  EXPECT_EQ(document["paths"], "paths: built-in table");
  std::vector<std::string> ops;
  for (const auto& row : document["rows"]) {
    ops.push_back(row["op"]);
    EXPECT_GT(row["p50_us"], 0);
    EXPECT_EQ(row["buffers"], "warm");
    EXPECT_TRUE(row["peers"].empty() && row["references"].empty());
    if (row["op"] != "local" && row["op"] != "explain") {
      EXPECT_THAT(row["path"], HasSubstr("gpu_")) << row;
    }
  }
  EXPECT_THAT(
      ops, testing::UnorderedElementsAre("all_reduce", "all_gather", "reduce_scatter", "broadcast",
                                         "barrier", "agreement", "explain", "local"));
  for (const auto& rank : document["ranks"]) EXPECT_EQ(rank["registrations"], 0);
}

TEST(BenchOnGpus, ThreeRanksInPlaceOnAPinnedPath) {
  const test::Finished finished =
      bench_on_gpus({"--ranks", "3", "--ops", "all_reduce,all_gather", "--in-place", "--bytes",
                     "3000", "--dtype", "i32", "--path", "gpu_two_shot"});
  ASSERT_EQ(finished.exit_code, 0) << finished.errors;
  const auto document = nlohmann::json::parse(finished.output);
  ASSERT_EQ(document["rows"].size(), 2U);
  EXPECT_EQ(document["rows"][0]["path"], "gpu_two_shot");
  EXPECT_EQ(document["rows"][1]["path"], "gpu_lamport");
  EXPECT_EQ(document["paths"], "paths: pinned to gpu_two_shot");
}

}  // namespace
}  // namespace cohort
