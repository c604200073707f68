#include "engine/schedule.hpp"

#include <algorithm>
#include <map>
#include <random>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cohort/error.hpp>

namespace cohort {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr TokenId kStop = 7;

Request request_of(std::size_t prompt_tokens, std::size_t completion_tokens_max) {
  Request request;
  for (std::size_t i = 0; i < prompt_tokens; ++i) {
    request.prompt.push_back(static_cast<TokenId>(100 + i));
  }
  request.completion_tokens_max = completion_tokens_max;
  return request;
}

ScheduleOptions options_of(std::uint32_t replicas, const EngineMaxima& maxima) {
  return {.replica_count = replicas, .maxima = maxima, .stop_tokens = {kStop}};
}

/// Gives every chunk that wants one the token that `choose` names.
template <typename Choose>
std::vector<TokenOutcome> answer(Schedule& schedule, const ScheduledStep& step,
                                 const Choose& choose) {
  std::vector<TokenOutcome> outcomes;
  for (const auto& chunks : step.replicas) {
    for (const StepChunk& chunk : chunks) {
      if (!chunk.wants_token) continue;
      outcomes.push_back(schedule.take({chunk.request, choose(chunk)}));
    }
  }
  return outcomes;
}

TEST(Schedule, PrefillsInChunksThenDecodes) {
  const std::vector<Request> requests = {request_of(5, 3)};
  Schedule schedule(requests, options_of(1, {32, 1, 4}));
  auto step = schedule.next();
  ASSERT_TRUE(step && step->prefill);
  EXPECT_EQ(step->replicas[0][0].count, 4);
  EXPECT_FALSE(step->replicas[0][0].wants_token);
  step = schedule.next();
  ASSERT_TRUE(step && step->prefill);
  EXPECT_EQ(step->replicas[0][0].position, 4);
  EXPECT_EQ(step->replicas[0][0].count, 1);
  EXPECT_TRUE(step->replicas[0][0].wants_token);
  schedule.take({0, 50});
  EXPECT_EQ(schedule.token_at(0, 5), 50);
  step = schedule.next();
  ASSERT_TRUE(step && !step->prefill);
  EXPECT_EQ(step->replicas[0][0].position, 5);
  EXPECT_FALSE(schedule.take({0, 51}).finished);
  step = schedule.next();
  const TokenOutcome last = schedule.take({0, 52});
  EXPECT_EQ(last.finished, FinishReason::length);
  EXPECT_TRUE(last.is_text);
  EXPECT_THAT(schedule.completion(0), ElementsAre(50, 51, 52));
  EXPECT_FALSE(schedule.next());
}

TEST(Schedule, StopTokenEndsTheAnswerAndIsNoText) {
  const std::vector<Request> requests = {request_of(1, 9)};
  Schedule schedule(requests, options_of(1, {32, 1, 4}));
  schedule.next();
  EXPECT_FALSE(schedule.take({0, 50}).finished);
  schedule.next();
  const TokenOutcome last = schedule.take({0, kStop});
  EXPECT_EQ(last.finished, FinishReason::stop);
  EXPECT_FALSE(last.is_text);
  EXPECT_THAT(schedule.completion(0), ElementsAre(50));
}

TEST(Schedule, FullContextEndsTheAnswer) {
  const std::vector<Request> requests = {request_of(3, 9)};
  Schedule schedule(requests, options_of(1, {5, 1, 4}));
  schedule.next();
  EXPECT_FALSE(schedule.take({0, 50}).finished);
  schedule.next();
  EXPECT_EQ(schedule.take({0, 51}).finished, FinishReason::context);
}

TEST(Schedule, PromptsGoToReplicasInTurn) {
  const std::vector<Request> requests(5, request_of(2, 1));
  Schedule schedule(requests, options_of(2, {8, 8, 64}));
  const auto step = schedule.next();
  ASSERT_TRUE(step);
  ASSERT_EQ(step->replicas.size(), 2);
  const auto requests_of = [](const std::vector<StepChunk>& chunks) {
    std::vector<std::size_t> result;
    for (const StepChunk& chunk : chunks) result.push_back(chunk.request);
    return result;
  };
  EXPECT_THAT(requests_of(step->replicas[0]), ElementsAre(0, 2, 4));
  EXPECT_THAT(requests_of(step->replicas[1]), ElementsAre(1, 3));
}

TEST(Schedule, OneReplicaPrefillsWhileTheOthersHaveNoRows) {
  const std::vector<Request> requests = {request_of(2, 5), request_of(6, 5)};
  Schedule schedule(requests, options_of(2, {32, 4, 3}));
  auto step = schedule.next();
  ASSERT_TRUE(step && step->prefill);
  answer(schedule, *step, [](const StepChunk&) { return TokenId{1}; });
  step = schedule.next();
  ASSERT_TRUE(step && step->prefill);
  EXPECT_TRUE(step->replicas[0].empty());
  EXPECT_EQ(step->replicas[1][0].count, 3);
}

std::string message_of(const std::vector<Request>& requests, const EngineMaxima& maxima) {
  try {
    const Schedule schedule(requests, options_of(1, maxima));
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::usage);
    return error.what();
  }
  return "no error";
}

TEST(Schedule, RefusesPromptsThatCannotRun) {
  EXPECT_THAT(message_of({request_of(1, 1), request_of(0, 1)}, {8, 1, 1}),
              HasSubstr("prompt 2 is empty"));
  EXPECT_THAT(message_of({request_of(8, 1)}, {8, 1, 1}),
              HasSubstr("prompt 1 has 8 tokens, but --context 8"));
  EXPECT_EQ(message_of({request_of(7, 1)}, {8, 1, 1}), "no error");
  EXPECT_THAT(message_of({request_of(1, 0)}, {8, 1, 1}), HasSubstr("--max-tokens"));
}

/// Follows a schedule and checks what every step must keep to.
class Follower {
 public:
  Follower(const std::vector<Request>& requests, const ScheduleOptions& options)
      : requests_(requests), options_(options), computed_(requests.size(), 0) {}

  void check(const ScheduledStep& step) {
    bool any_prompt_left = false;
    for (std::size_t replica = 0; replica < step.replicas.size(); ++replica) {
      std::size_t tokens = 0;
      std::set<std::size_t> sequences;
      for (const StepChunk& chunk : step.replicas[replica]) {
        EXPECT_EQ(chunk.request % options_.replica_count, replica);
        EXPECT_EQ(chunk.position, computed_[chunk.request]) << "tokens run once and in order";
        EXPECT_TRUE(sequences.insert(chunk.sequence).second);
        const auto [owner, is_new] = owner_.try_emplace({replica, chunk.sequence}, chunk.request);
        EXPECT_EQ(owner->second, chunk.request) << "two requests in one place of the cache";
        const std::size_t prompt = requests_[chunk.request].prompt.size();
        EXPECT_EQ(step.prefill, chunk.position < prompt);
        if (step.prefill) {
          EXPECT_LE(chunk.position + chunk.count, prompt);
          EXPECT_EQ(chunk.wants_token, chunk.position + chunk.count == prompt);
        } else {
          EXPECT_EQ(chunk.count, 1);
          EXPECT_TRUE(chunk.wants_token);
        }
        computed_[chunk.request] += chunk.count;
        any_prompt_left = any_prompt_left || computed_[chunk.request] < prompt;
        tokens += chunk.count;
      }
      EXPECT_LE(sequences.size(), options_.maxima.replica_sequences);
      if (step.prefill) {
        EXPECT_LE(tokens, options_.maxima.step_tokens);
      }
    }
    EXPECT_TRUE(step.prefill || !any_prompt_left) << "decoded before all prompts were computed";
  }

  void check(const TokenOutcome& outcome) {
    if (!outcome.finished) return;
    const std::size_t replica = outcome.request % options_.replica_count;
    EXPECT_EQ(owner_.erase({replica, outcome.freed_sequence}), 1);
  }

 private:
  const std::vector<Request>& requests_;
  const ScheduleOptions& options_;
  std::vector<std::size_t> computed_;
  std::map<std::pair<std::size_t, std::size_t>, std::size_t> owner_;  // of (replica, sequence)
};

TEST(Schedule, EveryStepKeepsToTheRules) {
  for (std::uint32_t seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 generator(seed);
    const auto number = [&](std::size_t low, std::size_t high) {
      return std::uniform_int_distribution<std::size_t>(low, high)(generator);
    };
    std::vector<Request> requests;
    for (std::size_t i = number(1, 12); i > 0; --i) {
      requests.push_back(request_of(number(1, 30), number(1, 12)));
    }
    const auto options = options_of(static_cast<std::uint32_t>(number(1, 4)),
                                    {number(31, 40), number(1, 4), number(1, 20)});
    Schedule schedule(requests, options);
    Follower follower(requests, options);
    std::set<std::size_t> finished;
    for (int step_count = 0; step_count < 2000; ++step_count) {
      const auto step = schedule.next();
      if (!step) break;
      follower.check(*step);
      for (const auto& outcome : answer(schedule, *step, [&](const StepChunk&) {
             return static_cast<TokenId>(number(0, 20));
           })) {
        follower.check(outcome);
        if (outcome.finished) finished.insert(outcome.request);
      }
    }
    EXPECT_EQ(finished.size(), requests.size());
    EXPECT_FALSE(schedule.next());
  }
}

}  // namespace
}  // namespace cohort
