#include "health.hpp"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cohort/health.hpp>

#include "base/clock.hpp"
#include "health_file_input.hpp"
#include "run_command.hpp"

namespace cohort {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

double now_s() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

Health sample() {
  Health health;
  health.taken_at_s = now_s();
  health.stall_limit_s = 1;
  health.generation = 3;
  health.ranks.resize(3);
  for (std::uint32_t rank = 0; rank < 3; ++rank) {
    health.ranks[rank].rank = WorldRank{rank};
    health.ranks[rank].activity = RankActivity::working;
    health.ranks[rank].pid = 4000 + rank;
    health.ranks[rank].generation = 3;
    health.ranks[rank].calls = {{GroupKind::attn_cp, Lane{1}, 7 + rank}};
  }
  health.ranks[1].activity = RankActivity::waiting;
  health.ranks[1].wait = RankWait{WorldRank{2}, 0.5, true, "barrier on tp \"x\""};
  health.ranks[2].activity = RankActivity::idle;
  health.ranks[2].idle_s = 2;
  health.ranks[2].stalls = 4;
  health.ranks[2].stalled_s = 6.5;
  health.ranks[2].last_stalled_on = WorldRank{0};
  return health;
}

Health failed() {
  Health health = sample();
  health.fault = Error(ErrorCode::peer_failed, "rank 2 died", WorldRank{2}, "all_reduce");
  health.ranks[2].activity = RankActivity::dead;
  return health;
}

TEST(HealthInput, ReadsWhatIsWritten) {
  Health of_gpus = failed();
  of_gpus.fault = Error(ErrorCode::nccl, "ncclAllReduce: remote error", WorldRank{1}, "wait");
  for (const Health& health : {sample(), failed(), of_gpus}) {
    const Health read = health_from_json(to_json(health), "file");
    EXPECT_EQ(to_json(read), to_json(health));
    EXPECT_EQ(to_text(read), to_text(health));
  }
}

void expect_corrupt(const std::string& text, const std::string& message) {
  try {
    health_from_json(text, "job.json");
    ADD_FAILURE() << "taken for health: " << text;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::corrupt) << text;
    EXPECT_THAT(error.what(), StartsWith("job.json is no health file: ")) << text;
    EXPECT_THAT(error.what(), HasSubstr(message)) << text;
  }
}

TEST(HealthInput, RefusesWhatIsCutShort) {
  const std::string whole = to_json(failed());
  for (std::size_t bytes = 0; bytes < whole.size(); ++bytes) {
    expect_corrupt(whole.substr(0, bytes), "it is not JSON");
  }
}

/// Every object in the document, so that each of its fields can be spoilt in turn.
void visit(nlohmann::json& value, const std::function<void(nlohmann::json&)>& use) {
  if (value.is_object()) use(value);
  for (auto& inner : value) {
    if (inner.is_structured()) visit(inner, use);
  }
}

TEST(HealthInput, RefusesEveryFieldThatIsMissingOrOfAnotherKind) {
  auto document = nlohmann::json::parse(to_json(failed()));
  std::size_t spoilt = 0;
  visit(document, [&](nlohmann::json& object) {
    const nlohmann::json whole = object;
    for (const auto& [name, value] : whole.items()) {
      if (name == "version" || name == "verdict") continue;  // not read: they follow from the rest
      object.erase(name);
      expect_corrupt(document.dump(), "it has no " + name);
      const bool is_list = value.is_array();
      object[name] = is_list ? nlohmann::json("none") : nlohmann::json::array({1});
      expect_corrupt(document.dump(), "");
      object[name] = value;
      ++spoilt;
    }
  });
  EXPECT_GT(spoilt, 50U);
  expect_corrupt("[]", "");
  expect_corrupt("7", "");
  document["ranks"][0]["state"] = "asleep";
  expect_corrupt(document.dump(), "state is none that is known");
}

TEST(HealthInput, RefusesAnotherSchema) {
  auto document = nlohmann::json::parse(to_json(sample()));
  document["schema"] = 2;
  try {
    health_from_json(document.dump(), "job.json");
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::unsupported);
    EXPECT_THAT(error.what(), HasSubstr("schema 2"));
  }
}

using Outcome = test::CommandOutcome;

Outcome run(const std::vector<std::string>& words) {
  return test::run_command(words);
}

class HealthCommand : public testing::Test {
 protected:
  void SetUp() override {
    path_ = (std::filesystem::temp_directory_path() /
             ("cohort-health-" + std::to_string(::getpid()) + "-" +
              std::to_string(Clock::now().time_since_epoch().count()) + ".json"))
                .string();
  }
  void TearDown() override { std::filesystem::remove(path_); }

  Outcome look(const Health& health, const std::vector<std::string>& flags = {}) const {
    std::ofstream(path_) << to_json(health) << "\n";
    std::vector<std::string> arguments{"health", path_};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    return run(arguments);
  }

  std::string path_;
};

TEST_F(HealthCommand, PrintsWhatRanksDoAndEndsWithZeroIfAllIsWell) {
  const Health health = sample();
  const Outcome outcome = look(health);
  EXPECT_EQ(outcome.exit_code, 0) << outcome.errors;
  EXPECT_EQ(outcome.output, to_text(health));
  EXPECT_THAT(outcome.errors, IsEmpty());
}

TEST_F(HealthCommand, EndsWithOneIfSomethingIsWrong) {
  Health health = sample();
  health.ranks[1].activity = RankActivity::stalled;
  EXPECT_EQ(look(health).exit_code, 1);
  EXPECT_THAT(look(health).output, StartsWith("stalled: 3 ranks"));
  EXPECT_EQ(look(failed()).exit_code, 1);
  EXPECT_THAT(look(failed()).output, HasSubstr("fault: peer_failed: rank 2 died (in all_reduce)"));
}

TEST_F(HealthCommand, SaysThatAFileIsStale) {
  Health health = sample();
  health.taken_at_s -= 100;
  const Outcome outcome = look(health);
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.output, StartsWith("stale: not written for 100."));
  EXPECT_THAT(outcome.output, HasSubstr(to_text(health)));
  EXPECT_EQ(look(health, {"--stale", "1000"}).exit_code, 0);
  EXPECT_EQ(look(health, {"--watch"}).exit_code, 1) << "watching nobody write would never end";
}

TEST_F(HealthCommand, AnEndedJobIsNotStaleHoweverOld) {
  Health health = sample();
  health.taken_at_s -= 1e6;
  Health of_failed = failed();
  of_failed.taken_at_s -= 1e6;
  EXPECT_THAT(look(of_failed).output, StartsWith("failed: 3 ranks"));
  for (RankHealth& rank : health.ranks) rank.activity = RankActivity::left;
  for (const std::vector<std::string>& flags : {{}, std::vector<std::string>{"--watch"}}) {
    const Outcome outcome = look(health, flags);
    EXPECT_EQ(outcome.exit_code, 0);
    EXPECT_THAT(outcome.output, StartsWith("ended: 3 ranks"));
  }
}

TEST_F(HealthCommand, PrintsJsonWithItsAge) {
  Health health = sample();
  health.taken_at_s -= 50;
  const Outcome outcome = look(health, {"--json"});
  EXPECT_EQ(outcome.exit_code, 1);
  const auto document = nlohmann::json::parse(outcome.output);
  EXPECT_EQ(document.at("schema"), 1);
  EXPECT_TRUE(document.at("stale"));
  EXPECT_GE(document.at("age_s"), 49.0);
  EXPECT_EQ(document.at("ranks").size(), 3U);
}

TEST_F(HealthCommand, WrongUseIsOneLineAndExitCodeTwo) {
  const auto expect = [](const std::vector<std::string>& arguments, const std::string& message) {
    const Outcome outcome = run(arguments);
    EXPECT_EQ(outcome.exit_code, 2);
    EXPECT_THAT(outcome.errors, HasSubstr(message));
    EXPECT_EQ(std::count(outcome.errors.begin(), outcome.errors.end(), '\n'), 1);
  };
  expect({"health", "--watch"}, "file is required");
  expect({"health", path_}, "health file " + path_ + " cannot be read: No such file");
  expect({"health", "/"}, "health file / cannot be read: Is a directory");
  std::ofstream(path_) << "hello";
  expect({"health", path_}, "is no health file: it is not JSON");
  expect({"health", path_, "--stale", "0"}, "--stale");
  expect({"run", "-n", "1", "--health-file", "/no-such-folder/h.json", "--", "true"},
         "--health-file /no-such-folder/h.json cannot be written: No such file");
  expect({"run", "-n", "1", "--health-file", "/", "--", "true"}, "--health-file /");
}

}  // namespace
}  // namespace cohort
