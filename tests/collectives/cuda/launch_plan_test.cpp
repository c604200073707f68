#include "collectives/cuda/launch_plan.hpp"

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "collectives/cuda/kernels/extents.hpp"
#include "heap/device_channel.hpp"

namespace cohort::cuda {
namespace {

using Bytes = std::vector<std::uint8_t>;

/// Operands of one member, whose addresses are offsets into them.
struct MemberData {
  Bytes input;
  Bytes output;
};

struct Case {
  Op op = Op::all_reduce;
  std::uint32_t members = 2;
  std::uint64_t bytes = 0;
  std::vector<std::uint64_t> counts;
  std::uint32_t root = 0;
};

std::string name_of(const Case& c) {
  std::string text = std::string(to_string(c.op)) + " of " + std::to_string(c.members) + ", " +
                     std::to_string(c.bytes) + " bytes";
  for (const std::uint64_t count : c.counts) text += " " + std::to_string(count);
  return text;
}

KernelCall call_of(const Case& c, std::uint32_t self, std::uint64_t data_bytes) {
  KernelCall call{};
  call.op = c.op;
  call.bytes = c.bytes;
  call.counts = c.counts.empty() ? nullptr : c.counts.data();
  call.root = c.root;
  call.members.count = c.members;
  call.members.self = self;
  call.map.data_bytes = data_bytes;
  return call;
}

std::uint64_t input_bytes(const Case& c, std::uint32_t self) {
  const auto at = [&c](std::size_t i) { return c.counts[i]; };
  switch (c.op) {
    case Op::reduce_scatter:
    case Op::all_to_all: return c.bytes * c.members;
    case Op::all_gatherv: return at(self);
    case Op::reduce_scatterv: return sum_of_counts(c.counts.data(), 1, c.members);
    case Op::all_to_allv:
      return sum_of_counts(c.counts.data() + std::size_t{self} * c.members, 1, c.members);
    default: return c.bytes;
  }
}

std::uint64_t output_bytes(const Case& c, std::uint32_t self) {
  switch (c.op) {
    case Op::all_gather:
    case Op::all_to_all: return c.bytes * c.members;
    case Op::all_gatherv: return sum_of_counts(c.counts.data(), 1, c.members);
    case Op::reduce_scatterv: return c.counts[self];
    case Op::all_to_allv: return sum_of_counts(c.counts.data() + self, c.members, c.members);
    default: return c.bytes;
  }
}

/// What a launch does to all members' operands: sums of bytes stand for any reduction.
void run_launch(const std::vector<KernelCall>& calls, std::vector<MemberData>& data) {
  const std::uint32_t members = calls[0].members.count;
  std::vector<Bytes> inputs;
  for (const MemberData& member : data) inputs.push_back(member.input);
  // Operands of the second of two steps lie in outputs: told apart by a high bit.
  const auto read = [&](std::uint32_t member, Address address) {
    const bool of_output = (address >> 40U) != 0;
    const Bytes& from = of_output ? data[member].output : inputs[member];
    return from.at(address & ((Address{1} << 40U) - 1));
  };
  std::vector<MemberData> next = data;
  for (std::uint32_t to = 0; to < members; ++to) {
    const bool two_shot = calls[to].algorithm == Algorithm::two_shot;
    for (std::uint32_t from = 0; from < members; ++from) {
      // Of all_reduce in two steps the whole is what counts here.
      Extent sent{input_begin(calls[from], from, to), sent_bytes(calls[from], from, to)};
      if (two_shot) sent = {0, calls[from].bytes};
      const Address begin = two_shot ? 0 : output_begin(calls[to], from, to);
      for (std::uint64_t i = 0; i < sent.bytes; ++i) {
        const std::uint8_t value = read(from, calls[from].input + sent.begin + i);
        const Address target = (calls[to].output + begin + i) & ((Address{1} << 40U) - 1);
        std::uint8_t& byte = next[to].output.at(target);
        const bool adds = is_reduction_call(calls[to].op) && from != 0;
        byte = static_cast<std::uint8_t>(adds ? byte + value : value);
      }
    }
  }
  data = next;
}

void expect_sound(const KernelCall& call, const GridLimits& limits, const std::string& what) {
  ASSERT_GE(call.blocks, 1U) << what;
  ASSERT_LE(call.blocks, kBlocksMax) << what;
  ASSERT_EQ(call.threads % 32, 0U) << what;
  ASSERT_LE(call.threads, 1024U) << what;
  ASSERT_GE(call.threads, call.members.count - 1) << what;
  if (call.blocks > 1) {
    ASSERT_LE(call.blocks * call.threads, limits.resident_threads) << what;
  }
  std::uint64_t most = 0;
  for (std::uint32_t to = 0; to < call.members.count; ++to) {
    most = std::max(most, scratch_lines(call, to));
  }
  ASSERT_EQ(most, most_scratch_lines(call)) << what;
  const std::uint64_t part = largest_part_bytes(call);
  const std::uint64_t threads = std::uint64_t{call.blocks} * call.threads;
  if (call.protocol == Protocol::flags) {
    ASSERT_LE(lines_of(part, 8), kFlagLines) << what;
    ASSERT_GE(threads * call.lines_per_thread, lines_of(part, 8)) << what;
    return;
  }
  ASSERT_LE(most * kLineBytes, call.map.data_bytes) << what;
  if (call.algorithm != Algorithm::split) {
    ASSERT_GE(threads * call.lines_per_thread, lines_of(part, kLineBytes)) << what;
    const bool one_peer = call.members.count == 2 && call.algorithm == Algorithm::once;
    ASSERT_LE(call.lines_per_thread, one_peer ? 2U : 1U) << what;
  }
}

struct Planned {
  std::vector<KernelCall> launches;
  std::vector<std::vector<std::uint64_t>> counts;  // each launch's own: the planner's are reused
};

Planned plan_of(const Case& c, std::uint32_t self, std::uint64_t data_bytes, Path path,
                const GridLimits& limits) {
  Planned planned;
  KernelCall call = call_of(c, self, data_bytes);
  call.output = Address{1} << 40U;
  std::vector<std::uint64_t> scratch(c.members);
  for_each_launch(call, path, limits, scratch, [&](const KernelCall& launch) {
    planned.launches.push_back(launch);
    std::vector<std::uint64_t>& own = planned.counts.emplace_back();
    if (launch.counts == nullptr) return;
    const std::size_t count = launch.op == Op::all_to_allv ? c.members * c.members : c.members;
    own.assign(launch.counts, launch.counts + count);
  });
  for (std::size_t i = 0; i < planned.launches.size(); ++i) {
    if (!planned.counts[i].empty()) planned.launches[i].counts = planned.counts[i].data();
  }
  return planned;
}

/// Launches the plan on all members and compares with the operation as a whole.
void check(const Case& c, std::uint64_t data_bytes, Path path, const GridLimits& limits) {
  const std::string what =
      name_of(c) + ", " + std::string(to_string(path)) + ", scratch " + std::to_string(data_bytes);
  std::vector<Planned> plans;
  std::vector<MemberData> data;
  std::vector<KernelCall> whole;
  for (std::uint32_t self = 0; self < c.members; ++self) {
    plans.push_back(plan_of(c, self, data_bytes, path, limits));
    whole.push_back(call_of(c, self, data_bytes));
    whole.back().algorithm = Algorithm::once;
    MemberData member{Bytes(input_bytes(c, self)), Bytes(output_bytes(c, self), 0xEE)};
    for (std::size_t i = 0; i < member.input.size(); ++i) {
      member.input[i] = static_cast<std::uint8_t>(i * 7 + self * 31 + (i >> 8U));
    }
    data.push_back(std::move(member));
  }
  std::vector<MemberData> wanted = data;
  run_launch(whole, wanted);
  for (std::size_t i = 0; i < plans[0].launches.size(); ++i) {
    std::vector<KernelCall> launch;
    for (std::uint32_t self = 0; self < c.members; ++self) {
      ASSERT_EQ(plans[self].launches.size(), plans[0].launches.size()) << what;
      const KernelCall& mine = plans[self].launches[i];
      const KernelCall& first = plans[0].launches[i];
      ASSERT_NO_FATAL_FAILURE(expect_sound(mine, limits, what));
      ASSERT_TRUE(mine.op == first.op && mine.algorithm == first.algorithm &&
                  mine.protocol == first.protocol && mine.blocks == first.blocks &&
                  mine.threads == first.threads && mine.bytes == first.bytes &&
                  mine.lines_per_thread == first.lines_per_thread)
          << what;
      ASSERT_EQ(plans[self].counts[i], plans[0].counts[i]) << what;
      launch.push_back(mine);
    }
    run_launch(launch, data);
  }
  for (std::uint32_t self = 0; self < c.members; ++self) {
    ASSERT_EQ(data[self].output, wanted[self].output) << what << ", member " << self;
  }
}

std::vector<std::uint64_t> uneven(std::uint32_t members, std::uint64_t part, std::uint64_t step) {
  std::vector<std::uint64_t> counts(members);
  for (std::uint32_t i = 0; i < members; ++i) {
    counts[i] = (i + step) % 3 == 0 ? 0 : part * (i % 4 + 1) / 3;
  }
  return counts;
}

std::vector<std::uint64_t> matrix(std::uint32_t members, std::uint64_t part) {
  std::vector<std::uint64_t> counts;
  for (std::uint32_t from = 0; from < members; ++from) {
    const auto row = uneven(members, part, from);
    counts.insert(counts.end(), row.begin(), row.end());
  }
  return counts;
}

std::vector<Case> cases(std::uint32_t members, std::uint64_t part) {
  std::vector<std::uint64_t> one_has_all(members);
  one_has_all[part % members] = part * members;
  return {{Op::all_reduce, members, part, {}, 0},
          {Op::broadcast, members, part, {}, members - 1},
          {Op::all_gather, members, part, {}, 0},
          {Op::reduce_scatter, members, part, {}, 0},
          {Op::all_to_all, members, part, {}, 0},
          {Op::barrier, members, 0, {}, 0},
          {Op::all_gatherv, members, 0, uneven(members, part, part), 0},
          {Op::all_gatherv, members, 0, one_has_all, 0},
          {Op::reduce_scatterv, members, 0, uneven(members, part, part), 0},
          {Op::reduce_scatterv, members, 0, one_has_all, 0},
          {Op::all_to_allv, members, 0, matrix(members, part), 0}};
}

class LaunchPlan : public testing::TestWithParam<std::uint32_t> {};

TEST_P(LaunchPlan, MovesEveryByteOnceWhateverTheScratch) {
  const std::uint32_t members = GetParam();
  for (const std::uint64_t part : {0U, 1U, 15U, 16U, 17U, 511U, 513U, 4096U, 4100U, 9001U}) {
    for (const Case& c : cases(members, part)) {
      for (const std::uint64_t largest : {1U, 600U, 4096U, 40000U}) {
        const std::uint64_t data_bytes = heap::device_data_bytes(members, largest);
        if (!can_be_launched(call_of(c, 0, data_bytes))) {
          ASSERT_TRUE(c.op == Op::all_to_all || c.op == Op::all_to_allv);
          continue;
        }
        for (const Path path : {Path::gpu_ll, Path::gpu_lamport, Path::gpu_two_shot}) {
          ASSERT_NO_FATAL_FAILURE(check(c, data_bytes, path, {512}));
        }
      }
    }
  }
}

TEST_P(LaunchPlan, NeverCutsWhatIsPlanned) {
  const std::uint32_t members = GetParam();
  for (const std::uint64_t largest : {256U, 4096U, 65536U, 1U << 20U, 33U << 20U}) {
    const std::uint64_t part = largest / members;
    const std::uint64_t data_bytes = heap::device_data_bytes(members, largest);
    std::vector<std::uint64_t> one_has_all(members);
    one_has_all[0] = largest;
    for (const Case& c :
         {Case{Op::all_gather, members, part, {}, 0},
          Case{Op::reduce_scatter, members, part, {}, 0},
          Case{Op::all_to_all, members, part, {}, 0}, Case{Op::broadcast, members, largest, {}, 0},
          Case{Op::all_gatherv, members, 0, one_has_all, 0}}) {
      const auto planned = plan_of(c, 0, data_bytes, Path::gpu_lamport, {270336});
      EXPECT_EQ(planned.launches.size(), 1U) << name_of(c);
    }
    const Case reduce{Op::all_reduce, members, largest, {}, 0};
    EXPECT_LE(plan_of(reduce, 0, data_bytes, Path::gpu_two_shot, {270336}).launches.size(), 2U);
    if (members > 2) continue;
    EXPECT_EQ(plan_of(reduce, 0, data_bytes, Path::gpu_lamport, {270336}).launches.size(), 1U);
  }
}

INSTANTIATE_TEST_SUITE_P(Members, LaunchPlan, testing::Values(2U, 3U, 4U, 7U));

TEST(LaunchGrid, IsTheMeasuredOneOnAWholeDevice) {
  const GridLimits h200{132 * 2048};
  struct Wanted {
    std::uint64_t bytes;
    std::uint32_t blocks;
    std::uint32_t threads;
    std::uint32_t lines_per_thread;
    Algorithm algorithm;
  };
  for (const Wanted& wanted :
       {Wanted{0, 1, 32, 1, Algorithm::once}, Wanted{8192, 4, 128, 1, Algorithm::once},
        Wanted{16384, 32, 32, 1, Algorithm::once}, Wanted{131072, 64, 128, 1, Algorithm::once},
        Wanted{2097152, 512, 256, 1, Algorithm::once},
        Wanted{8388608, 512, 512, 2, Algorithm::once},
        Wanted{33554432, 256, 512, 1, Algorithm::split}}) {
    const Case c{Op::all_reduce, 2, wanted.bytes, {}, 0};
    const auto planned = plan_of(c, 0, wanted.bytes, Path::gpu_lamport, h200);
    ASSERT_EQ(planned.launches.size(), 1U);
    const KernelCall& launch = planned.launches[0];
    EXPECT_EQ(launch.blocks, wanted.blocks) << wanted.bytes;
    EXPECT_EQ(launch.threads, wanted.threads) << wanted.bytes;
    EXPECT_EQ(launch.lines_per_thread, wanted.lines_per_thread) << wanted.bytes;
    EXPECT_EQ(launch.algorithm, wanted.algorithm) << wanted.bytes;
  }
}

TEST(LaunchGrid, IsThatOfTheTableWhereItHasOne) {
  const PathTable table(
      {}, {}, "1",
      {{},
       {{GridFamily::reduce, 2, {{96, 512}, {64, 1024}, {32}}}, {GridFamily::move, 3, {{256}}}}});
  const GridLimits limits{132 * 2048, &table};
  const GridLimits general{132 * 2048};
  const auto launch_of = [](const Case& c, const GridLimits& with) {
    const auto planned =
        plan_of(c, 0, heap::device_data_bytes(c.members, 1 << 24), Path::gpu_lamport, with);
    EXPECT_EQ(planned.launches.size(), 1U);
    return planned.launches.at(0);
  };
  const auto reduce = [&](std::uint64_t bytes) {
    return launch_of({Op::all_reduce, 2, bytes, {}, 0}, limits);
  };
  EXPECT_EQ(reduce(8192).threads, 96U);
  EXPECT_EQ(reduce(8192).blocks, 6U);
  EXPECT_EQ(reduce(16384).threads, 64U);
  EXPECT_EQ(reduce(16384).blocks, 16U);
  // 32 threads would need more blocks than there can be.
  const KernelCall large = reduce(1 << 20);
  EXPECT_EQ(large.threads, 64U);
  EXPECT_EQ(large.blocks, 1024U);
  EXPECT_EQ(large.lines_per_thread, 1U);
  const Case of_two{Op::all_gather, 2, 8192, {}, 0};
  const Case of_four{Op::all_gather, 4, 8192, {}, 0};
  EXPECT_EQ(launch_of(of_two, limits).threads, launch_of(of_two, general).threads);
  EXPECT_EQ(launch_of(of_four, limits).threads, 256U);
}

TEST(LaunchGrid, KeepsToWhatIsResident) {
  const PathTable narrow({}, {}, "1",
                         {{}, {{GridFamily::move, 2, {{32}}}, {GridFamily::move, 3, {{1024}}}}});
  for (const std::uint32_t resident : {512U, 1000U, 2048U, 16896U, 270336U}) {
    for (std::uint64_t bytes = 1; bytes < (std::uint64_t{1} << 26U); bytes = bytes * 3 + 1) {
      for (const std::uint32_t members : {2U, 8U, 64U}) {
        const Case c{Op::all_gather, members, bytes / members, {}, 0};
        const GridLimits limits{resident, resident % 32 == 0 ? &narrow : nullptr};
        for (const KernelCall& launch :
             plan_of(c, 0, heap::device_data_bytes(members, bytes), Path::gpu_lamport, limits)
                 .launches) {
          ASSERT_NO_FATAL_FAILURE(expect_sound(launch, limits, name_of(c)));
        }
      }
    }
  }
}

TEST(DeviceShare, HasNoLimitsWhereNobodyElseIs) {
  EXPECT_EQ(device_share(132 * 2048, 1).resident, 132U * 2048U);
  EXPECT_EQ(device_share(132 * 2048, 1).early, ~0U);
}

TEST(DeviceShare, LetsAKernelOfEachAndTheOneBehindItRunAtOnce) {
  for (const std::uint64_t multiprocessors : {1U, 16U, 108U, 132U, 148U}) {
    const std::uint64_t threads = multiprocessors * 2048;
    for (std::uint64_t sharers = 2; sharers <= 16; ++sharers) {
      const DeviceShare share = device_share(threads, sharers);
      // In registers: 64 of a kernel that is planned, up to 128 of one that comes early.
      EXPECT_LE(sharers * (64ULL * share.resident + 128ULL * share.early), multiprocessors * 65536)
          << sharers << " sharers of " << multiprocessors;
      EXPECT_GE(20 * sharers * share.resident, 7 * threads) << "little is left unused";
    }
  }
}

}  // namespace
}  // namespace cohort::cuda
