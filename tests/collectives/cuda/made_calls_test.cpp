#include "collectives/cuda/made_calls.hpp"

#include <array>
#include <cstddef>
#include <functional>
#include <span>
#include <vector>

#include <gtest/gtest.h>

namespace cohort::cuda {
namespace {

using collectives::Call;

std::array<std::byte, 4096> memory;

Call sum_of(std::size_t elements, std::size_t offset = 0) {
  Call call;
  call.op = Op::all_reduce;
  call.dtype = DType::bf16;
  call.input = {memory.data() + offset, elements, DType::bf16};
  call.output = {memory.data() + offset, elements, DType::bf16};
  return call;
}

MadeCall made_of(const Call& call) {
  MadeCall made{};
  made.call = call;
  made.kernel.hash = call.input.elements;
  return made;
}

TEST(MadeCalls, FindsACallWhateverItsStream) {
  MadeCalls made;
  EXPECT_EQ(made.find(sum_of(16)), nullptr);
  made.keep(made_of(sum_of(16)));
  Call again = sum_of(16);
  again.stream = memory.data();
  ASSERT_NE(made.find(again), nullptr);
  EXPECT_EQ(made.find(again)->kernel.hash, 16U);
}

TEST(MadeCalls, TakesNoCallForAnother) {
  const std::vector<std::function<void(Call&)>> changes = {
      [](Call& call) { call.op = Op::broadcast; },
      [](Call& call) { call.reduce_op = ReduceOp::max; },
      [](Call& call) { call.dtype = DType::f16; },
      [](Call& call) { call.root = GroupRank{1}; },
      [](Call& call) { call.on_own_paths = true; },
      [](Call& call) { call.input.data = memory.data() + 2; },
      [](Call& call) { call.input.elements = 15; },
      [](Call& call) { call.input.dtype = DType::f16; },
      [](Call& call) { call.output.data = memory.data() + 2; },
      [](Call& call) { call.output.elements = 15; },
      [](Call& call) { call.output.dtype = DType::f16; },
  };
  for (std::size_t i = 0; i < changes.size(); ++i) {
    // Wherever it would be looked for.
    for (std::size_t elements = 16; elements < 400; ++elements) {
      MadeCalls made;
      Call other = sum_of(elements);
      made.keep(made_of(other));
      changes[i](other);
      EXPECT_EQ(made.find(other), nullptr) << i;
    }
  }
}

TEST(MadeCalls, ComparesCountsAndHasItsOwn) {
  std::vector<std::size_t> counts = {3, 5};
  std::vector<std::uint64_t> bytes = {6, 10};
  Call call = sum_of(3);
  call.op = Op::all_gatherv;
  call.counts = counts;
  MadeCall gathered = made_of(call);
  gathered.kernel.op = Op::all_gatherv;
  gathered.kernel.counts = bytes.data();
  MadeCalls made;
  made.keep(gathered);
  bytes = {0, 0};
  ASSERT_NE(made.find(call), nullptr);
  EXPECT_EQ(made.find(call)->kernel.counts[1], 10U);
  counts[1] = 6;  // in place
  EXPECT_EQ(made.find(call), nullptr);
  counts[1] = 5;
  EXPECT_NE(made.find(call), nullptr);
  call.counts = std::span(counts).first(1);
  EXPECT_EQ(made.find(call), nullptr);
}

TEST(MadeCalls, KnowsAWindowFromAWhole) {
  const Call even = sum_of(16);
  KernelCall kernel{};
  kernel.op = Op::all_reduce;
  EXPECT_TRUE(is_whole(kernel, even));
  const std::uint64_t bytes = 0;
  kernel.op = Op::all_gatherv;
  kernel.counts = &bytes;
  EXPECT_FALSE(is_whole(kernel, even));
}

TEST(MadeCalls, KeepsNoNormsAndNotManyCounts) {
  MadeCalls made;
  made.keep(made_of(sum_of(16)));
  const RmsNorm norm;
  Call normed = sum_of(16);
  normed.norm = &norm;
  EXPECT_EQ(made.find(normed), nullptr);
  EXPECT_FALSE(can_be_kept(normed));
  const std::vector<std::size_t> counts(kKeptCountsMax + 1);
  Call uneven = sum_of(16);
  uneven.op = Op::all_to_allv;
  uneven.counts = counts;
  EXPECT_FALSE(can_be_kept(uneven));
  EXPECT_EQ(made.find(uneven), nullptr);
  const std::uint64_t count = 16;
  Call counted = sum_of(16);
  counted.device_counts = &count;
  EXPECT_FALSE(can_be_kept(counted));
  EXPECT_EQ(made.find(counted), nullptr);
}

TEST(MadeCalls, KnowsACallThatRecurs) {
  MadeCalls made;
  EXPECT_FALSE(made.recurs(sum_of(16)));
  EXPECT_TRUE(made.recurs(sum_of(16)));
  for (std::size_t i = 0; i < 1000; ++i) EXPECT_FALSE(made.recurs(sum_of(17 + i)));
  EXPECT_FALSE(made.recurs(sum_of(16)));
}

TEST(MadeCalls, ForgetsAndReplaces) {
  MadeCalls made;
  made.keep(made_of(sum_of(16)));
  made.forget(sum_of(16));
  EXPECT_EQ(made.find(sum_of(16)), nullptr);
  for (std::size_t i = 0; i < 1000; ++i) {
    made.keep(made_of(sum_of(16, 2 * i)));
    ASSERT_NE(made.find(sum_of(16, 2 * i)), nullptr);
  }
  std::size_t held = 0;
  for (std::size_t i = 0; i < 1000; ++i) held += made.find(sum_of(16, 2 * i)) != nullptr ? 1U : 0U;
  EXPECT_GT(held, MadeCalls::kPlaces / 4);  // they spread
  EXPECT_LE(held, MadeCalls::kPlaces);
}

}  // namespace
}  // namespace cohort::cuda
