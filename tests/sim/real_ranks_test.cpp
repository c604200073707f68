// The simulator's programs and mutations on ranks that run at once: threads, and processes.

#include <chrono>
#include <random>
#include <string>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cohort/cohort.hpp>

#include "sim/judge.hpp"
#include "support/ranks.hpp"

namespace cohort::sim {
namespace {

using testing::HasSubstr;

constexpr std::size_t kSteps = 60;
constexpr std::uint64_t kMutations = 200;

/// Holds the calling rank up at test points, now and then, for as long as it lives.
class Delays final : public TestHooks {
 public:
  explicit Delays(std::uint64_t seed) : random_(seed) { test_hooks() = this; }
  ~Delays() override { test_hooks() = nullptr; }
  void reach(std::string_view /*point*/) override {
    const std::uint64_t choice = random_() % 32;
    if (choice == 0) std::this_thread::sleep_for(std::chrono::microseconds(random_() % 200));
    if (choice < 4) std::this_thread::yield();
  }

 private:
  std::mt19937_64 random_;
};

/// Runs a rank's program in a session of its own; the first wrong result, if there is one.
std::string run_program(World& world, const Layout& layout, const std::vector<Step>& program,
                        std::uint64_t seed) {
  const Delays delays(seed * 31 + world.rank().index());
  Session session = commit(world, program_plan(layout));
  RankProgram rank(session, world.rank());
  try {
    rank.run(program);
  } catch (const Error&) {
    if (rank.wrong() == 0) throw;
    throw Error(ErrorCode::system, "before it failed: " + rank.first_wrong());
  }
  return rank.first_wrong();
}

void check_program(test::RankMode mode, std::uint32_t rank_count, std::uint64_t seed) {
  const Layout layout = random_layout(rank_count, seed);
  const std::vector<Step> program = random_program(seed, kSteps);
  const auto results = test::run_ranks(
      mode, rank_count, [&](World& world) { return run_program(world, layout, program, seed); });
  test::expect_no_errors(results);
  for (const test::RankResult& result : results) EXPECT_EQ(result.output, "") << "seed " << seed;
}

TEST(RealRanks, DelaysAtEveryPointChangeNoResult) {
  for (std::uint32_t rank_count = 2; rank_count <= 8; ++rank_count) {
    check_program(test::RankMode::threads, rank_count, rank_count * 7);
  }
}

TEST(RealRanks, DelaysInProcessesChangeNoResult) {
  check_program(test::RankMode::processes, 4, 4711);
}

void check_mutations(std::uint64_t first, std::uint64_t count) {
  for (std::uint64_t seed = first; seed < first + count; ++seed) {
    const Mutation mutation = random_mutation(2 + static_cast<std::uint32_t>(seed % 4), seed);
    const Foretold foretold = foretell(mutation.layout, mutation.programs);
    WaitLimits limits = test::patient_limits();
    // Whoever is foretold to wait in vain need not do so for long.
    if (foretold.outcome == Outcome::timeout) limits.steady = std::chrono::milliseconds(500);
    const auto results = test::run_ranks(
        test::RankMode::threads, mutation.layout.world_size(),
        [&](World& world) {
          return run_program(world, mutation.layout, foretold.programs[world.rank().index()], seed);
        },
        limits);
    std::size_t failed = 0;
    for (const test::RankResult& result : results) {
      EXPECT_EQ(result.output, "") << mutation.text;
      if (!result.error) continue;
      ++failed;
      EXPECT_EQ(to_string(result.error->code()), std::string_view(to_string(foretold.outcome)))
          << mutation.text << ": " << result.error->what();
      if (result.error->code() != ErrorCode::timeout) continue;
      const std::string about = std::to_string(result.error->rank().value().index());
      EXPECT_THAT(result.error->what(), HasSubstr("last calls of rank " + about + ": "))
          << mutation.text;
    }
    EXPECT_EQ(failed == 0, foretold.outcome == Outcome::well) << mutation.text;
  }
}

TEST(RealRanks, MutationsEndAsForetold) {
  check_mutations(1, kMutations);
}

// Of each kind one, few enough for sanitizers, which stretch every deadline.
TEST(RealRanks, AFewMutationsEndAsForetold) {
  check_mutations(kMutations + 1, kMutationKinds);
}

/// Everybody calls the same; the last rank then does something else for ever.
void call_and_stay_away(World& world, const Layout& layout, bool stays_away) {
  Session session = commit(world, program_plan(layout));
  const Group tp = session.group(GroupKind::tp);
  const Group attn_cp = session.group(GroupKind::attn_cp);
  const Lane first{0};
  const Lane second{1};
  std::ignore = tp.barrier(second);
  std::ignore = tp.all_reduce(session.take(SlotId{0}).elements(1500), ReduceOp::max, second);
  std::ignore = attn_cp.broadcast(session.take(SlotId{1}).elements(3), GroupRank{1}, first);
  if (world.rank() == WorldRank{2}) {
    std::ignore = tp.send(session.take(SlotId{0}).elements(2), GroupRank{0}, second);
  }
  if (stays_away) {
    while (!world.domain().poisoned()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    world.domain().check("doing something else");
  }
  // Of the others rank 0 alone waits for the late one: ranks 1 and 3 are done and close.
  std::ignore = attn_cp.barrier(first);
  session.close();
}

void check_late_rank(test::RankMode mode) {
  const Layout layout({.tp = 4, .attn_cp = 2});
  const WorldRank late{2};
  WaitLimits limits = test::patient_limits();
  limits.steady = std::chrono::milliseconds(500);
  const auto results = test::run_ranks(
      mode, layout.world_size(),
      [&](World& world) {
        call_and_stay_away(world, layout, world.rank() == late);
        return std::string();
      },
      limits);
  for (const test::RankResult& result : results) {
    ASSERT_TRUE(result.error);
    EXPECT_EQ(result.error->code(), ErrorCode::timeout);
    EXPECT_EQ(result.error->rank(), late);
    const std::string text = result.error->what();
    EXPECT_EQ(
        missing_calls(
            text, layout, late,
            {{{GroupKind::tp, 1}, Op::all_reduce}, {{GroupKind::attn_cp, 0}, Op::broadcast}}, true),
        "");
    EXPECT_THAT(text, HasSubstr("all_reduce(max, f32, 6000 bytes, host_direct, slot 0 entry 0)"));
    EXPECT_THAT(text, HasSubstr("rank 0 waited "));
    EXPECT_THAT(text, HasSubstr("attn_cp [0, 2] lane 0 call "));
    EXPECT_THAT(text, HasSubstr("message 1 send(2 to 0, f32, 8 bytes, host_inline, slot 0 entry "
                                "0) to rank 0"));
  }
}

TEST(RealRanks, ATimeoutTellsTheLateRanksLastCallOnEachLane) {
  check_late_rank(test::RankMode::threads);
}

TEST(RealRanks, ATimeoutTellsTheLastCallsOfAnotherProcess) {
  check_late_rank(test::RankMode::processes);
}

}  // namespace
}  // namespace cohort::sim
