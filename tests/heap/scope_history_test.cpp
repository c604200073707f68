#include "heap/scope_history.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cohort/error.hpp>

namespace cohort::heap {
namespace {

using testing::HasSubstr;

ScopeStep step_of(std::uint64_t bytes, std::uint64_t offset,
                  ScopeStep::Kind kind = ScopeStep::Kind::allocate) {
  ScopeStep step;
  step.bytes = bytes;
  step.offset = offset;
  step.group = GroupKind::tp;
  step.kind = kind;
  return step;
}

std::string difference_of(const std::vector<const ScopeHistory*>& histories) {
  std::vector<std::vector<std::byte>> encoded;
  for (const ScopeHistory* history : histories) encoded.push_back(history->encode());
  return ScopeHistory::first_difference(encoded).value_or("equal");
}

TEST(ScopeHistory, EqualStepsGiveEqualDigests) {
  ScopeHistory one;
  ScopeHistory two;
  EXPECT_EQ(difference_of({&one, &two}), "equal");
  for (std::uint64_t i = 0; i < 5000; ++i) {
    one.fold(step_of(i, 256 * i));
    two.fold(step_of(i, 256 * i));
    ASSERT_EQ(one.summary(), two.summary());
  }
  EXPECT_EQ(difference_of({&one, &two}), "equal");
}

TEST(ScopeHistory, EveryFieldAndTheOrderEnterTheDigest) {
  ScopeStep step = step_of(100, 512);
  std::vector<ScopeStep> others(6, step);
  others[0].bytes = 101;
  others[1].offset = 768;
  others[2].pool = 1;
  others[3].group = GroupKind::attn_cp;
  others[4].kind = ScopeStep::Kind::release;
  others[5].where = ScopeStep::Where::over_budget;
  for (const ScopeStep& other : others) {
    ScopeHistory one;
    ScopeHistory two;
    one.fold(step);
    two.fold(other);
    EXPECT_NE(one.summary().digest, two.summary().digest) << describe(other);
    EXPECT_THAT(difference_of({&one, &two}), HasSubstr("step 0 is"));
    one.fold(other);
    two.fold(step);
    EXPECT_NE(one.summary().digest, two.summary().digest) << "order of " << describe(other);
  }
}

TEST(ScopeHistory, NamesTheFirstDifferingStepAndWhoDidWhat) {
  std::array<ScopeHistory, 3> ranks;
  for (std::uint64_t i = 0; i < 300; ++i) {
    for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
      const bool differs = i == 17 && rank == 1;
      ranks[rank].fold(step_of(differs ? 4096 : 8192, 256 * i));
    }
  }
  EXPECT_EQ(difference_of({&ranks[0], &ranks[1], &ranks[2]}),
            "the ranks' scopes differ: step 17 is [allocate 4096 bytes for tp at offset 4352 of "
            "pool 0] on rank 1, [allocate 8192 bytes for tp at offset 4352 of pool 0] on ranks 0, "
            "2");
}

TEST(ScopeHistory, AMissingStepIsNamed) {
  ScopeHistory one;
  ScopeHistory two;
  one.fold(step_of(10, 0));
  two.fold(step_of(10, 0));
  one.fold(step_of(10, 0, ScopeStep::Kind::release));
  EXPECT_EQ(difference_of({&one, &two}),
            "the ranks' scopes differ: step 1 is [no such step] on rank 1, [release 10 bytes for "
            "tp at offset 0 of pool 0] on rank 0");
}

TEST(ScopeHistory, SaysWhenTheDifferenceIsNoLongerKept) {
  ScopeHistory one;
  ScopeHistory two;
  one.fold(step_of(1, 0));
  two.fold(step_of(2, 0));
  for (std::uint64_t i = 0; i < 2 * ScopeHistory::kKeptCount; ++i) {
    one.fold(step_of(9, 256));
    two.fold(step_of(9, 256));
  }
  EXPECT_EQ(difference_of({&one, &two}),
            "the ranks' scopes differ: they parted before step 1025, the first kept; the steps "
            "kept are equal");
  ScopeHistory behind;
  EXPECT_THAT(difference_of({&one, &behind}), HasSubstr("more than 1024 steps ahead"));
}

TEST(ScopeHistory, RefusesBytesThatAreNoHistory) {
  ScopeHistory history;
  history.fold(step_of(1, 0));
  for (const std::size_t cut : {1U, 20U}) {
    auto bytes = history.encode();
    bytes.resize(bytes.size() - cut);
    const std::vector<std::vector<std::byte>> histories = {history.encode(), bytes};
    EXPECT_THROW((void)ScopeHistory::first_difference(histories), Error);
  }
  auto bytes = history.encode();
  bytes[0] = std::byte{0};  // no step, but one that is kept
  const std::vector<std::vector<std::byte>> histories = {bytes};
  EXPECT_THROW((void)ScopeHistory::first_difference(histories), Error);
}

}  // namespace
}  // namespace cohort::heap
