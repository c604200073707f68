#include "collectives/cuda/kernels/counted_extents.hpp"

#include <array>
#include <cstdint>
#include <random>
#include <set>
#include <vector>

#include <gtest/gtest.h>

#include "collectives/cuda/kernels/extents.hpp"
#include "collectives/cuda/launch_plan.hpp"

namespace cohort::cuda {
namespace {

constexpr std::array kForms = {Op::all_gather, Op::reduce_scatter, Op::all_to_all};
constexpr std::uint32_t kElementBytes = 2;

Op uneven_form(Op op) {
  if (op == Op::all_gather) return Op::all_gatherv;
  return op == Op::reduce_scatter ? Op::reduce_scatterv : Op::all_to_allv;
}

/// Of the form with equal parts of `most` bytes.
KernelCall call_of(Op op, std::uint32_t members, std::uint64_t most, std::uint64_t data_bytes) {
  KernelCall call{};
  call.op = op;
  call.bytes = most;
  call.members.count = members;
  call.map.data_bytes = data_bytes;
  return call;
}

std::vector<std::uint64_t> random_counts(Op op, std::uint32_t members, std::uint64_t most,
                                         std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<std::uint64_t> counts(op == Op::all_to_all ? members * members : members);
  for (std::uint64_t& count : counts) count = random() % 3 == 0 ? most : random() % (most + 1);
  return counts;
}

// All windows of a part together are what the host's form of the call moves, in order.
TEST(CountedExtents, WindowsAddUpToTheFormWithCountsOnTheHost) {
  for (const Op op : kForms) {
    for (const std::uint32_t members : {2U, 3U, 5U}) {
      for (const std::uint64_t most : {1ULL, 100ULL, 5'000ULL}) {
        const auto counts = random_counts(op, members, most, most + members);
        std::vector<std::uint64_t> bytes;
        for (const std::uint64_t count : counts) bytes.push_back(count * kElementBytes);
        KernelCall host = call_of(uneven_form(op), members, 0, 0);
        host.counts = bytes.data();
        const KernelCall planned = call_of(op, members, most * kElementBytes, 4096ULL * members);
        for (std::uint32_t from = 0; from < members; ++from) {
          for (std::uint32_t to = 0; to < members; ++to) {
            std::uint64_t moved = 0;
            for_each_counted_launch(planned, {}, [&](KernelCall& launch) {
              const CountedShape shape{op,           members,      kElementBytes,
                                       launch.first, launch.bytes, launch.most};
              const Counted counted(shape, counts.data());
              const CountedPart sent = counted.sent(from, to);
              const CountedPart received = counted.received(from, to);
              EXPECT_EQ(sent.bytes, received.bytes);
              if (sent.bytes == 0) return;
              EXPECT_EQ(sent.begin, input_begin(host, from, to) + moved);
              EXPECT_EQ(received.begin, output_begin(host, from, to) + moved);
              moved += sent.bytes;
            });
            EXPECT_EQ(moved, sent_bytes(host, from, to)) << to_string(op) << " of " << members;
          }
        }
      }
    }
  }
}

TEST(CountedExtents, LaunchesFitScratchAndDoNotDependOnCounts) {
  for (const Op op : kForms) {
    for (const std::uint32_t members : {2U, 4U, 8U}) {
      for (const std::uint64_t most : {0ULL, 16ULL, 100'000ULL}) {
        const KernelCall planned = call_of(op, members, most, 8192ULL * members);
        std::uint64_t covered = 0;
        int launches = 0;
        for_each_counted_launch(planned, {}, [&](KernelCall& launch) {
          EXPECT_EQ(launch.first, covered);
          EXPECT_EQ(launch.most, most);
          EXPECT_LE(most_scratch_lines(launch) * kLineBytes, launch.map.data_bytes);
          EXPECT_EQ(launch.threads % 64, 0U);
          EXPECT_GE(launch.blocks, 1U);
          covered += launch.bytes;
          ++launches;
        });
        EXPECT_EQ(covered, most);
        EXPECT_GE(launches, 1);
      }
    }
  }
}

TEST(CountedExtents, CutsWhatIsBeyondThePlanAndSaysSo) {
  const CountedShape shape{Op::all_gather, 2, kElementBytes, 0, 64, 64};
  const std::array<std::uint64_t, 2> counts = {33, 32};
  const Counted counted(shape, counts.data());
  EXPECT_TRUE(counted.exceeds(0));
  EXPECT_FALSE(counted.exceeds(1));
  EXPECT_EQ(counted.sent(0, 1).bytes, 64U);
  EXPECT_EQ(counted.received(1, 0).begin, 64U);
}

TEST(CountedExtents, FoldsEveryCountIntoTheUpperHalfOfAHash) {
  constexpr std::uint64_t kHash = 0x0123456789ABCDEF;
  std::set<std::uint64_t> seen;
  for (std::uint32_t index = 0; index < 64; ++index) {
    for (std::uint64_t count = 0; count < 64; ++count) {
      const std::uint64_t folded = fold_count(kHash, index, count);
      EXPECT_EQ(static_cast<std::uint32_t>(folded), static_cast<std::uint32_t>(kHash));
      seen.insert(folded);
    }
  }
  EXPECT_EQ(seen.size(), 64U * 64U);
  // Counts that change places are other counts.
  EXPECT_NE(fold_count(fold_count(kHash, 0, 5), 1, 7), fold_count(fold_count(kHash, 0, 7), 1, 5));
}

}  // namespace
}  // namespace cohort::cuda
