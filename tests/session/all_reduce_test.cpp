// An all_reduce of operands that peers read where they lie: some ranks in place, some not, some
// with outputs outside the heap. Which ranks do what changes in every call.

#include <algorithm>
#include <numeric>
#include <vector>

#include <gtest/gtest.h>

#include <cohort/cohort.hpp>

#include "support/ranks.hpp"

namespace cohort {
namespace {

using test::RankMode;

constexpr std::size_t kElementsMax = 40'000;

/// Where a rank puts its result in one call.
enum class Output { in_place, heap, ordinary };

/// Bit 0 of a call says whether ranks work in place or into the other slot, which all members must
/// do alike; the other bits say which ranks go outside the heap instead.
Output output_of(std::uint32_t call, std::uint32_t rank) {
  if ((call >> (rank + 1) & 1U) != 0) return Output::ordinary;
  return (call & 1U) != 0 ? Output::heap : Output::in_place;
}

std::int32_t value_of(std::uint32_t call, std::uint32_t rank, std::size_t index) {
  return static_cast<std::int32_t>(call * 7919 + rank * 104'729 + index * 31);
}

/// Every way in which all ranks can choose, at one size.
void check_all_choices(Session& session, SlotId operands, SlotId results, std::uint32_t rank,
                       std::size_t elements) {
  const Group tp = session.group(GroupKind::tp);
  const std::uint32_t choices = 2U << tp.size();
  std::vector<std::int32_t> ordinary(elements);
  for (std::uint32_t call = 0; call < choices; ++call) {
    const Buffer operand = session.take(operands);
    const Buffer result = session.take(results);
    auto* input = operand.as<std::int32_t>();
    for (std::size_t i = 0; i < elements; ++i) input[i] = value_of(call, rank, i);
    const Output output = output_of(call, rank);
    std::int32_t* to = output == Output::in_place ? input
                       : output == Output::heap   ? result.as<std::int32_t>()
                                                  : ordinary.data();
    if (output != Output::in_place) std::fill_n(to, elements, -1);
    const Verdict verdict = tp.all_reduce(ConstTensor{input, elements, DType::i32},
                                          Tensor{to, elements, DType::i32}, ReduceOp::sum);
    ASSERT_EQ(verdict.path, Path::host_direct);
    for (std::size_t i = 0; i < elements; ++i) {
      std::int32_t sum = 0;
      for (std::uint32_t other = 0; other < tp.size(); ++other) sum += value_of(call, other, i);
      ASSERT_EQ(to[i], sum) << "call " << call << ", element " << i;
      if (output != Output::in_place) {
        ASSERT_EQ(input[i], value_of(call, rank, i));
      }
    }
  }
}

using ModeAndRanks = std::tuple<RankMode, std::uint32_t>;
class MixedAllReduce : public testing::TestWithParam<ModeAndRanks> {};

TEST_P(MixedAllReduce, IsRightWhoeverWorksInPlace) {
  const auto [mode, ranks] = GetParam();
  Plan plan(Layout({.tp = ranks}));
  const SlotSpec spec{
      .groups = {GroupKind::tp}, .dtype = DType::i32, .rows_max = kElementsMax, .row_elements = 1};
  const SlotId operands = plan.slot("operands", spec);
  const SlotId results = plan.slot("results", spec);
  const auto outcome = test::run_ranks(mode, ranks, [&](World& world) {
    Session session = commit(world, plan);
    // Up to 1,024 elements an operand in place rides beside its header.
    for (const std::size_t elements : {std::size_t{65}, std::size_t{1'024}, std::size_t{1'025},
                                       std::size_t{4'001}, kElementsMax}) {
      check_all_choices(session, operands, results, world.rank().index(), elements);
    }
    session.close();
    return std::string();
  });
  test::expect_no_errors(outcome);
}

INSTANTIATE_TEST_SUITE_P(Ranks, MixedAllReduce,
                         testing::Combine(testing::Values(RankMode::threads, RankMode::processes),
                                          testing::Range(2U, 5U)),
                         [](const testing::TestParamInfo<ModeAndRanks>& param) {
                           return test::to_string(std::get<0>(param.param)) +
                                  std::to_string(std::get<1>(param.param));
                         });

TEST(AllReduceVerdict, AnOutputOutsideTheHeapIsCopiedOnlyIfPeersReadIt) {
  Plan plan(Layout({.tp = 2}));
  const SlotId slot = plan.slot("operands", {.groups = {GroupKind::tp},
                                             .dtype = DType::i32,
                                             .rows_max = kElementsMax,
                                             .row_elements = 1});
  const auto outcome = test::run_ranks(RankMode::threads, 2, [&](World& world) {
    Session session = commit(world, plan);
    const Group tp = session.group(GroupKind::tp);
    std::vector<std::int32_t> stray(kElementsMax);
    const Buffer buffer = session.take(slot);
    const Tensor operand = buffer.elements(kElementsMax);
    const Tensor outside{stray.data(), kElementsMax, DType::i32};
    const Verdict whole = tp.all_reduce(operand, outside, ReduceOp::sum);
    EXPECT_EQ(whole, (Verdict{Path::host_direct, Reason::ok, 0}));
    // Rank 1 works in place, so results are read in parts, and rank 0's from its staging.
    const bool in_place = world.rank() == WorldRank{1};
    const Verdict parts = tp.all_reduce(operand, in_place ? operand : outside, ReduceOp::sum);
    EXPECT_EQ(parts.reason, in_place ? Reason::ok : Reason::operand_not_in_heap);
    EXPECT_EQ(parts.copied_bytes, in_place ? 0U : kElementsMax * sizeof(std::int32_t) / 2);
    session.close();
    return std::string();
  });
  test::expect_no_errors(outcome);
}

}  // namespace
}  // namespace cohort
