// A tiny model over ranks as processes, in every layout of up to 8 ranks that it allows.

#include <signal.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "e2e/generate_job.hpp"
#include "support/report_data.hpp"

namespace cohort {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using test::GenerateJob;

struct Sizes {
  std::uint32_t tp = 1;
  std::uint32_t attn_dp = 1;
  std::uint32_t attn_cp = 1;
};

void PrintTo(const Sizes& sizes, std::ostream* out) {
  *out << "tp " << sizes.tp << ", attn_dp " << sizes.attn_dp << ", attn_cp " << sizes.attn_cp;
}

std::vector<Sizes> layouts_of(const std::vector<std::uint32_t>& worlds) {
  std::vector<Sizes> layouts;
  for (const std::uint32_t tp : worlds) {
    for (std::uint32_t dp = 1; dp <= tp; dp *= 2) {
      for (std::uint32_t cp = 1; dp * cp <= tp; cp *= 2) layouts.push_back({tp, dp, cp});
    }
  }
  return layouts;
}

class TinyModel : public GenerateJob {
 protected:
  static std::vector<test::GoldenTexts::Prompt> golden() {
    return test::read_golden_texts("tiny_greedy.json").prompts;
  }

  nlohmann::json run_batch(const Sizes& sizes, const std::string& flags) const {
    return run_json("--ignore-eos --max-tokens 64 --tp " + std::to_string(sizes.tp) +
                        " --attn-dp " + std::to_string(sizes.attn_dp) + " --attn-cp " +
                        std::to_string(sizes.attn_cp) + " " + flags,
                    {"--model", test::tiny_model_path(), "--prompts", write_prompts(golden())});
  }
};

class TinyModelLayouts : public TinyModel, public testing::WithParamInterface<Sizes> {};

TEST_P(TinyModelLayouts, GiveTheTokensOfTransformersOnEveryPath) {
  const auto strict = run_batch(GetParam(), "--strict");
  test::expect_tokens(strict, golden());
  test::expect_promised(strict);
  const auto staged = run_batch(GetParam(), "--symmetric off");
  test::expect_tokens(staged, golden());
  test::expect_staged(staged);
}

std::string name_of(const testing::TestParamInfo<Sizes>& layout) {
  return "tp" + std::to_string(layout.param.tp) + "dp" + std::to_string(layout.param.attn_dp) +
         "cp" + std::to_string(layout.param.attn_cp);
}

INSTANTIATE_TEST_SUITE_P(Sample, TinyModelLayouts,
                         testing::Values(Sizes{1, 1, 1}, Sizes{2, 2, 1}, Sizes{4, 2, 2}), name_of);
// All of them; sanitizer builds are content with the sample.
INSTANTIATE_TEST_SUITE_P(Sweep, TinyModelLayouts, testing::ValuesIn(layouts_of({1, 2, 4, 8})),
                         name_of);

TEST_F(TinyModel, WritesAReportOfWhatItDid) {
  const std::string file = write_file("report.html", "of an earlier job");
  const auto result = run_batch({4, 2, 2}, "--report " + file);
  const auto report = test::report_data(file);
  EXPECT_EQ(report.at("kind"), "generate");
  EXPECT_EQ(report.at("communication"), result.at("communication"));
  EXPECT_EQ(report.at("run").at("timing"), result.at("timing"));
  EXPECT_EQ(report.at("plan").at("footprint").at("planned_bytes"),
            result.at("footprint").at("planned_bytes"));
  EXPECT_EQ(report.at("run").at("prompts").size(), golden().size());
  EXPECT_EQ(report.dump().find(golden().front().text), std::string::npos) << "not what was asked";
  // The timelines tell the calls that the ledgers count, and their time.
  const auto& timeline = report.at("timeline");
  ASSERT_EQ(timeline.at("ranks").size(), 4U);
  std::uint64_t calls = 0;
  for (const auto& rank : timeline.at("ranks")) {
    EXPECT_EQ(rank.at("dropped"), 0);
    calls += rank.at("calls").size();
    EXPECT_GT(rank.at("wait_us"), 0);
  }
  std::uint64_t counted = 0;
  for (const auto& row : result.at("communication")) {
    counted += row.at("calls").get<std::uint64_t>() * row.at("ranks").size();
  }
  EXPECT_EQ(calls, counted);
}

/// What was committed is reported, whatever the files say by then.
TEST_F(TinyModel, ReportsThePlanThatRan) {
  std::ifstream model(test::tiny_model_path(), std::ios::binary);
  const std::string copy =
      write_file("model.gguf", std::string{std::istreambuf_iterator<char>(model), {}});
  const std::string page = write_file("report.html", "");
  const auto job = start({"generate", "--model", copy, "--prompt", "Water", "--tp", "2",
                          "--max-tokens", "100", "--report", page},
                         /*one_stream=*/true, {{"COHORT_LOG", "info"}});
  ASSERT_TRUE(job->wait_for_output("rank 1: info: loading the model\n", test::patience(60s)));
  // Both ranks have opened the model, and the first waits for the second.
  const pid_t second = pid_of_rank(1);
  ASSERT_EQ(::kill(second, SIGSTOP), 0);
  write_file("other.gguf", "");
  fs::rename(fs::path(copy).replace_filename("other.gguf"), copy);
  ASSERT_EQ(::kill(second, SIGCONT), 0);
  const test::Finished finished = job->wait(test::patience(60s));
  ASSERT_EQ(finished.exit_code, 0) << finished.output;
  EXPECT_EQ(test::report_data(page).at("plan").at("footprint").at("planned_bytes").size(), 2U);
}

TEST_F(TinyModel, RefusesAReportThatItCannotWriteBeforeItStarts) {
  const test::Finished finished = run({"generate", "--model", test::tiny_model_path(), "--prompt",
                                       "x", "--report", "missing-folder/report.html"});
  EXPECT_EQ(finished.exit_code, 2);
  EXPECT_EQ(finished.output, "");
  EXPECT_THAT(finished.errors, testing::HasSubstr("--report missing-folder/"));
}

TEST_F(TinyModel, LeavesAHealthFileThatSaysHowItEnded) {
  const std::string file = write_file("health.json", "of an earlier job");
  const auto result = run_batch({2, 1, 1}, "--health-file " + file);
  EXPECT_TRUE(result.at("stalls").is_array());
  const test::Finished told = run({"health", file, "--json"});
  EXPECT_EQ(told.exit_code, 0) << told.errors;
  const auto health = nlohmann::json::parse(told.output);
  EXPECT_EQ(health.at("verdict"), "ended");
  EXPECT_EQ(health.at("generation"), 1);
  for (const auto& rank : health.at("ranks")) {
    EXPECT_EQ(rank.at("state"), "left");
    EXPECT_FALSE(rank.at("calls").empty());
  }
}

TEST_F(TinyModel, StrictRefusesStagingAndSaysWhy) {
  const test::Finished finished = run({"generate", "--model", test::tiny_model_path(), "--prompt",
                                       "Water", "--tp", "2", "--symmetric", "off", "--strict"});
  EXPECT_EQ(finished.exit_code, 1);
  EXPECT_THAT(finished.errors, testing::HasSubstr("symmetric memory is switched off"));
  EXPECT_EQ(std::count(finished.errors.begin(), finished.errors.end(), '\n'), 1);
}

/// The pool that `cohort plan` says a layout needs, in bytes.
std::size_t needed_pool(const test::Finished& plan) {
  EXPECT_EQ(plan.exit_code, 0) << plan.errors;
  return nlohmann::json::parse(plan.output).at("pools").at(0).at("bytes").get<std::size_t>();
}

TEST_F(TinyModel, APoolAPageTooSmallGivesTheSameTokensOverBudget) {
  for (const std::string layout : {"--tp 2", "--tp 4 --attn-dp 2 --attn-cp 2"}) {
    SCOPED_TRACE(layout);
    std::vector<std::string> arguments = {"plan", "--json", "--model", test::tiny_model_path()};
    for (const std::string& word : test::words(layout)) arguments.push_back(word);
    const std::size_t needed = needed_pool(run(arguments));
    const auto run_with = [&](std::size_t pool_bytes, const std::string& flags) {
      return run_json("--ignore-eos --max-tokens 64 --pool " + std::to_string(pool_bytes) + " " +
                          layout + " " + flags,
                      {"--model", test::tiny_model_path(), "--prompts", write_prompts(golden())});
    };
    const auto enough = run_with(needed, "--strict");
    test::expect_tokens(enough, golden());
    test::expect_promised(enough);
    const auto too_small = run_with(needed - 4096, "");
    test::expect_tokens(too_small, golden());
    std::size_t bytes = 0;
    for (const auto& row : too_small.at("communication")) {
      if (row.at("reason") != "over_budget") continue;
      EXPECT_EQ(row.at("path"), "host_staged");
      EXPECT_GT(row.at("copied_bytes"), 0);
      bytes += row.at("bytes").get<std::size_t>();
    }
    EXPECT_GT(bytes, 0U);
    EXPECT_EQ(too_small.at("registrations_since_commit"), 0);
  }
}

TEST_F(TinyModel, StrictNamesThePoolThatIsTooSmall) {
  const std::size_t needed =
      needed_pool(run({"plan", "--json", "--model", test::tiny_model_path(), "--tp", "2"}));
  const test::Finished finished =
      run({"generate", "--model", test::tiny_model_path(), "--prompt", "Water", "--tp", "2",
           "--strict", "--pool", std::to_string(needed - 4096)});
  EXPECT_EQ(finished.exit_code, 1);
  EXPECT_THAT(finished.errors,
              testing::HasSubstr("pool 'activations' has no room for the " +
                                 std::to_string(needed) + " bytes that a scope of group"));
  EXPECT_EQ(std::count(finished.errors.begin(), finished.errors.end(), '\n'), 1);
}

TEST_F(TinyModel, APinnedPathGivesTheSameTokensAndIsInTheTable) {
  for (const std::string path : {"host_inline", "host_direct", "host_staged"}) {
    const auto result = run_batch({2, 2, 1}, "--path " + path);
    test::expect_tokens(result, golden());
    std::size_t taken = 0;
    for (const auto& row : result.at("communication")) {
      if (row.at("path") == "local") continue;
      if (row.at("path") == path) {
        EXPECT_EQ(row.at("reason"), "ok");
        ++taken;
      } else {
        EXPECT_EQ(path, "host_inline");
        EXPECT_EQ(row.at("reason"), "over_inline_limit");
      }
    }
    EXPECT_GT(taken, 0U) << path;
  }
}

TEST_F(TinyModel, RanksAndTpFollowFromEachOther) {
  for (const char* flags : {"--ranks 2", "--tp 2", "--ranks 2 --tp 2"}) {
    const auto result = run_json(std::string("--max-tokens 3 ") + flags,
                                 {"--model", test::tiny_model_path(), "--prompt", "Water"});
    EXPECT_EQ(result.at("layout").at("ranks"), 2) << flags;
  }
}

TEST_F(TinyModel, PromptMayComeFromStandardInput) {
  const auto golden_prompt = golden().front();
  const std::string file = write_file("input.txt", golden_prompt.text + "\n");
  for (const char* ranks : {"1", "2"}) {
    test::Subprocess job({"/bin/sh", "-c",
                          std::string(COHORT_BUILD_DIR) + "/cohort generate --json --ranks " +
                              ranks + " --ignore-eos --max-tokens 64 --model " +
                              test::tiny_model_path() + " < " + file});
    const test::Finished finished = job.wait(test::patience(std::chrono::seconds(60)));
    ASSERT_EQ(finished.exit_code, 0) << finished.output << finished.errors;
    test::expect_tokens(nlohmann::json::parse(finished.output), {golden_prompt});
  }
}

TEST_F(TinyModel, PlanFootprintIsWhatGenerateMeasures) {
  for (const std::string layout : {"--tp 1", "--tp 4 --attn-dp 2 --attn-cp 2", "--tp 8"}) {
    const auto result = run_json("--max-tokens 2 " + layout,
                                 {"--model", test::tiny_model_path(), "--prompt", "Water"});
    std::vector<std::string> arguments = {"plan", "--json", "--model", test::tiny_model_path()};
    for (const std::string& word : test::words(layout)) arguments.push_back(word);
    const test::Finished finished = run(arguments);
    ASSERT_EQ(finished.exit_code, 0) << finished.output;
    const auto plan = nlohmann::json::parse(finished.output);
    EXPECT_EQ(plan.at("footprint").at("planned_bytes"),
              result.at("footprint").at("measured_bytes"));
    EXPECT_FALSE(plan.at("slots").empty());
  }
}

}  // namespace
}  // namespace cohort
