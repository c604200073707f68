#include "engine/engine.hpp"

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cohort/plan.hpp>
#include <cohort/session.hpp>
#include <cohort/world.hpp>

#include "model/gguf.hpp"
#include "model/model_config.hpp"
#include "model/parallel.hpp"
#include "support/golden_model.hpp"
#include "support/ranks.hpp"

namespace cohort {
namespace {

struct Job {
  LayoutSizes sizes;
  EngineMaxima maxima{256, 8, 512};
  TokenChoice choice = TokenChoice::greedy;
  PlanOptions options{.strict = true};
};

std::string name_of(const LayoutSizes& sizes) {
  return "tp " + std::to_string(sizes.tp) + " attn_dp " + std::to_string(sizes.attn_dp) +
         " attn_cp " + std::to_string(sizes.attn_cp);
}

void PrintTo(const Job& job, std::ostream* out) {
  *out << name_of(job.sizes);
}

struct Outcome {
  std::vector<std::vector<TokenId>> completions;  // by request
  std::vector<LedgerRow> ledger;
};

/// Prompts that fit a small context, with their golden continuations.
std::vector<test::GoldenTexts::Prompt> short_prompts() {
  auto prompts = test::read_golden_texts("tiny_greedy.json").prompts;
  std::erase_if(prompts, [](const auto& prompt) { return prompt.ids.size() > 180; });
  return prompts;
}

Outcome run_on_rank(World& world, const Job& job, std::span<const Request> requests) {
  set_compute_threads(1);
  const GgufFile file = GgufFile::open(test::tiny_model_path());
  const ModelConfig config = model_config_from(file);
  Plan plan(Layout(job.sizes), job.options);
  const EngineSlots slots =
      plan_slots(plan, config, {.dtype = DType::f32, .maxima = job.maxima, .choice = job.choice});
  Session session = commit(world, plan);
  const auto decoder = load_llama({file, config}, plan.layout(), world.rank(), DType::f32,
                                  slots.llama, [](std::size_t, std::size_t) {});
  Engine engine(session, *decoder, slots, world.rank());
  Schedule schedule(requests,
                    {.replica_count = job.sizes.attn_dp, .maxima = job.maxima, .stop_tokens = {}});
  const auto pick = [](std::size_t, std::span<const float> logits) {
    return best_candidate(logits, 0).token;
  };
  engine.run(schedule, pick, [](const TokenOutcome&) {});
  Outcome outcome;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const auto tokens = schedule.completion(i);
    outcome.completions.emplace_back(tokens.begin(), tokens.end());
  }
  outcome.ledger = session.ledger();
  EXPECT_EQ(session.registrations_since_commit(), 0);
  session.close();
  return outcome;
}

/// Runs the job on ranks as threads; every rank must know the golden tokens.
std::vector<Outcome> expect_golden(const Job& job) {
  SCOPED_TRACE(name_of(job.sizes));
  const auto prompts = short_prompts();
  std::vector<Request> requests;
  for (const auto& prompt : prompts) requests.push_back({prompt.ids, prompt.continuation.size()});
  std::vector<Outcome> outcomes(Layout(job.sizes).world_size());
  const auto results = test::run_ranks(
      test::RankMode::threads, static_cast<std::uint32_t>(outcomes.size()), [&](World& world) {
        outcomes[world.rank().index()] = run_on_rank(world, job, requests);
        return std::string();
      });
  test::expect_no_errors(results);
  for (const Outcome& outcome : outcomes) {
    if (outcome.completions.size() != prompts.size()) continue;  // its error was reported
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      EXPECT_EQ(outcome.completions[i], prompts[i].continuation) << prompts[i].name;
    }
  }
  return outcomes;
}

class EngineLayouts : public testing::TestWithParam<Job> {};

TEST_P(EngineLayouts, GiveTheTokensOfTransformers) {
  for (const Outcome& outcome : expect_golden(GetParam())) {
    for (const LedgerRow& row : outcome.ledger) {
      EXPECT_EQ(row.copied_bytes, 0);
      EXPECT_EQ(row.reason, row.ranks.size() == 1 ? Reason::group_size_one : Reason::ok);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Some, EngineLayouts,
                         testing::Values(Job{.sizes = {.tp = 1}}, Job{.sizes = {.tp = 2}},
                                         Job{.sizes = {.tp = 2, .attn_dp = 2}},
                                         Job{.sizes = {.tp = 2, .attn_cp = 2}},
                                         Job{.sizes = {.tp = 4, .attn_dp = 2, .attn_cp = 2}},
                                         Job{.sizes = {.tp = 4, .attn_cp = 2}},
                                         Job{.sizes = {.tp = 8, .attn_dp = 2, .attn_cp = 2}}),
                         [](const auto& job) {
                           const LayoutSizes& sizes = job.param.sizes;
                           return "tp" + std::to_string(sizes.tp) + "dp" +
                                  std::to_string(sizes.attn_dp) + "cp" +
                                  std::to_string(sizes.attn_cp);
                         });

TEST(Engine, SmallStepsAndFewSequencesGiveTheSameTokens) {
  expect_golden({.sizes = {.tp = 2, .attn_cp = 2}, .maxima = {256, 2, 13}});
  expect_golden({.sizes = {.tp = 2, .attn_dp = 2}, .maxima = {200, 1, 50}});
}

TEST(Engine, GatheredLogitsGiveTheSameTokens) {
  expect_golden({.sizes = {.tp = 4, .attn_dp = 2}, .choice = TokenChoice::sampled});
}

TEST(Engine, WithoutSymmetricMemoryTheTokensAreTheSameAndEveryCallIsStaged) {
  const Job job{.sizes = {.tp = 4, .attn_dp = 2, .attn_cp = 2},
                .options = {.symmetry = Symmetry::off}};
  for (const Outcome& outcome : expect_golden(job)) {
    for (const LedgerRow& row : outcome.ledger) {
      EXPECT_EQ(row.path, Path::host_staged);
      EXPECT_EQ(row.reason, Reason::disabled);
    }
  }
}

/// Calls of a group's instances that hold `rank`, by operation; gathers of equal and unequal parts
/// count alike.
std::map<std::string, std::uint64_t> calls_of(const Outcome& outcome, GroupKind group) {
  std::map<std::string, std::uint64_t> calls;
  for (const LedgerRow& row : outcome.ledger) {
    if (row.group != group) continue;
    std::string op(to_string(row.op));
    if (op.ends_with('v')) op.pop_back();
    calls[op] += row.calls;
  }
  return calls;
}

TEST(Engine, EachBoundaryIsOneCallAndKeysTravelWithValues) {
  const auto prompts = short_prompts();
  const auto outcomes =
      expect_golden({.sizes = {.tp = 4, .attn_dp = 2, .attn_cp = 2}, .maxima = {256, 8, 512}});
  // One prefill step holds all prompts; the first token comes with it, the others one by one.
  const std::uint64_t step_count = prompts[0].continuation.size();
  constexpr std::uint64_t kLayers = 2;
  for (const Outcome& outcome : outcomes) {
    const auto tp = calls_of(outcome, GroupKind::tp);
    // A layer's MLP input; the last rows, the candidates and the chosen tokens of a step.
    EXPECT_EQ(tp.at("all_gather"), step_count * (kLayers + 3));
    EXPECT_EQ(tp.at("reduce_scatter"), step_count * kLayers);
    // Keys and values of a layer in the prefill; the MLP's sum in every later step.
    EXPECT_EQ(calls_of(outcome, GroupKind::attn_cp).at("all_gather"),
              kLayers + (step_count - 1) * kLayers);
    EXPECT_EQ(calls_of(outcome, GroupKind::attn).at("broadcast"), step_count);
  }
}

}  // namespace
}  // namespace cohort
