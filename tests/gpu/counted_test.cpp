// Uneven calls whose counts lie on the device, outside of graphs and in replays with new counts.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cohort/cohort.hpp>

#include "gpu/rank_gpu.hpp"
#include "gpu/rank_test.hpp"
#include "support/error_of.hpp"
#include "support/meet.hpp"
#include "support/reference_reduce.hpp"

namespace cohort {
namespace {

using test::meet;
using test::RankGpu;
using test::RankMode;
using test::thrown_by;
using testing::HasSubstr;
using Bytes = std::vector<std::byte>;
using Counts = std::vector<std::uint64_t>;

constexpr std::byte kUntouched{0x5A};

/// Larger than scratch of the smaller plan holds at once.
constexpr std::size_t kPartMax = 6'000;

Plan plan_of(std::uint32_t tp) {
  Plan plan(Layout{{.tp = tp}}, {.memory = Memory::cuda});
  static_cast<void>(plan.slot(
      "x", {.groups = {GroupKind::tp}, .rows_max = kPartMax * tp, .row_elements = 1, .depth = 2}));
  return plan;
}

/// Which part of `from` goes to `to`, in all its operands, as every rank can work out.
class Expected {
 public:
  Expected(Op op, std::uint32_t size, const Counts& counts)
      : op_(op), size_(size), counts_(counts) {}

  std::size_t part(std::uint32_t from, std::uint32_t to) const {
    if (op_ == Op::all_to_allv) return counts_[from * size_ + to];
    return counts_[op_ == Op::all_gatherv ? from : to];
  }
  std::size_t sent_begin(std::uint32_t from, std::uint32_t to) const {
    std::size_t sum = 0;
    for (std::uint32_t k = 0; op_ != Op::all_gatherv && k < to; ++k) sum += part(from, k);
    return sum;
  }

 private:
  Op op_;
  std::uint32_t size_;
  const Counts& counts_;
};

/// One rank's operands of one call, in which counts change.
class CountedCall {
 public:
  CountedCall(World& world, const cuda::Api& api)
      : gpu(api, world.rank()),
        session(commit(world, plan_of(world.size()), gpu.commit_options())),
        self(world.rank().index()),
        size(world.size()),
        input_(session.take(SlotId{0})),
        output_(session.take(SlotId{0})),
        counts_(gpu.allocate(std::size_t{size} * size * sizeof(std::uint64_t)).data()) {}

  /// Counts and operands for what comes next.
  void prepare(const Counts& counts, DType dtype, std::uint64_t seed) {
    gpu.write(counts_, std::as_bytes(std::span(counts)));
    inputs_.clear();
    for (std::uint32_t rank = 0; rank < size; ++rank) {
      std::mt19937_64 random(seed * 100 + rank);
      Bytes& bytes = inputs_.emplace_back(kPartMax * size * bytes_of(dtype));
      const std::size_t element = bytes_of(dtype);
      for (std::size_t at = 0; at < bytes.size(); at += element) {
        const std::uint64_t value = value_of(dtype, random());
        std::memcpy(bytes.data() + at, &value, element);
      }
    }
    gpu.write(input_.data(), inputs_[self]);
    gpu.write(output_.data(), Bytes(kPartMax * size * bytes_of(dtype), kUntouched));
  }

  Verdict call(Op op, DType dtype, std::size_t most) const {
    const Group tp = session.group(GroupKind::tp).on(gpu.stream());
    const DeviceCounts counts{reinterpret_cast<const std::uint64_t*>(counts_)};
    const auto of = [&](const Buffer& buffer, std::size_t parts) {
      return Tensor{buffer.data(), parts * most, dtype};
    };
    switch (op) {
      case Op::all_gatherv: return tp.all_gatherv(of(input_, 1), of(output_, size), counts);
      case Op::reduce_scatterv:
        return tp.reduce_scatterv(of(input_, size), of(output_, 1), counts, ReduceOp::sum);
      default: return tp.all_to_allv(of(input_, size), of(output_, size), counts);
    }
  }

  /// That the output is as counts have it, and nothing was written behind it.
  void expect_result(Op op, DType dtype, const Counts& counts) const {
    const std::size_t element = bytes_of(dtype);
    const Expected expected(op, size, counts);
    Bytes wanted;
    std::vector<Bytes> parts;
    for (std::uint32_t from = 0; from < size; ++from) {
      const auto begin = inputs_[from].begin() +
                         static_cast<std::ptrdiff_t>(expected.sent_begin(from, self) * element);
      parts.emplace_back(begin,
                         begin + static_cast<std::ptrdiff_t>(expected.part(from, self) * element));
      wanted.insert(wanted.end(), parts.back().begin(), parts.back().end());
    }
    if (op == Op::reduce_scatterv) wanted = test::reference_reduce(parts, dtype, ReduceOp::sum);
    wanted.resize(kPartMax * size * element, kUntouched);
    ASSERT_TRUE(gpu.read(output_.data(), wanted.size()) == wanted)
        << to_string(op) << " of " << to_string(dtype) << " with counts "
        << testing::PrintToString(counts);
  }

  std::vector<float> output(std::size_t elements) const {
    return gpu.read_all<float>(output_.elements(elements));
  }

  RankGpu gpu;
  Session session;
  std::uint32_t self;
  std::uint32_t size;

 private:
  /// Numbers, and the sentinel now and then where nothing is reduced.
  static std::uint64_t value_of(DType dtype, std::uint64_t random) {
    if (dtype == DType::u8) return random % 7 == 0 ? 0xFA : random;
    if (dtype == DType::i32) return random % 5 == 0 ? cuda::kSentinel : random & 0xFFFFU;
    if (dtype == DType::bf16) return 0x3F80U + random % 128;
    const auto value = static_cast<float>(random % 1000) / 8;
    std::uint32_t bits = 0;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
  }

  Buffer input_;
  Buffer output_;
  std::byte* counts_;
  std::vector<Bytes> inputs_;
};

Counts some_counts(Op op, std::uint32_t size, std::uint64_t most, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  Counts counts(op == Op::all_to_allv ? size * size : size);
  const std::uint64_t kind = seed % 4;
  for (std::uint64_t& count : counts) {
    count = kind == 0 ? most : kind == 1 ? random() % 4 : random() % (most + 1);
  }
  if (kind == 2) counts[seed % counts.size()] = 0;
  if (seed == 5) std::fill(counts.begin(), counts.end(), 0);
  return counts;
}

constexpr std::array kOps = {Op::all_gatherv, Op::reduce_scatterv, Op::all_to_allv};
constexpr std::array kTypes = {DType::f32, DType::bf16, DType::i32, DType::u8};

class GpuCounted : public test::RankTest {};

TEST_P(GpuCounted, MovesAndReducesWhatTheDeviceCounts) {
  run([](World& world, const cuda::Api& api) {
    CountedCall call(world, api);
    std::uint64_t seed = 0;
    for (const Op op : kOps) {
      for (const DType dtype : kTypes) {
        for (const std::size_t most : {std::size_t{100}, kPartMax}) {
          for (int turn = 0; turn < 4; ++turn) {
            const Counts counts = some_counts(op, call.size, most, ++seed);
            call.prepare(counts, dtype, seed);
            EXPECT_EQ(call.call(op, dtype, most).path, Path::gpu_lamport);
            call.session.wait(call.gpu.stream());
            call.expect_result(op, dtype, counts);
            if (testing::Test::HasFatalFailure()) return;
          }
        }
      }
    }
    std::uint64_t calls = 0;
    for (const LedgerRow& row : call.session.ledger()) {
      if (std::find(kOps.begin(), kOps.end(), row.op) != kOps.end()) calls += row.calls;
    }
    EXPECT_EQ(calls, kOps.size() * kTypes.size() * 8);
    call.session.close();
  });
}

TEST_P(GpuCounted, ReplaysWithNewCounts) {
  run([](World& world, const cuda::Api& api) {
    CountedCall call(world, api);
    for (const Op op : kOps) {
      call.prepare(some_counts(op, call.size, kPartMax, 4), DType::f32, 1);
      const cuda::GraphHandle graph =
          call.gpu.capture([&] { static_cast<void>(call.call(op, DType::f32, kPartMax)); });
      for (std::uint64_t seed = 1; seed <= 12; ++seed) {
        const Counts counts = some_counts(op, call.size, kPartMax, seed);
        call.prepare(counts, DType::f32, seed);
        call.gpu.launch(graph);
        call.session.wait(call.gpu.stream());
        call.expect_result(op, DType::f32, counts);
        if (testing::Test::HasFatalFailure()) return;
      }
      call.gpu.destroy(graph);
    }
    call.session.close();
  });
}

TEST_P(GpuCounted, FindsCountsThatDiffer) {
  run([](World& world, const cuda::Api& api) {
    CountedCall call(world, api);
    Counts counts(call.size, 20);
    if (call.self == 1) counts[0] = 21;
    call.prepare(counts, DType::f32, 1);
    meet(world);
    const auto error = thrown_by([&] {
      static_cast<void>(call.call(Op::all_gatherv, DType::f32, 100));
      call.session.wait(call.gpu.stream());
    });
    ASSERT_TRUE(error);
    EXPECT_EQ(error->code(), ErrorCode::mismatch) << error->what();
    EXPECT_THAT(error->what(),
                HasSubstr("all_gatherv(f32, 400 bytes at most, counts on the device"));
    EXPECT_THAT(error->what(), HasSubstr("with other counts"));
    call.gpu.await(call.gpu.stream());
    call.session.close();
  });
}

TEST_P(GpuCounted, EndsTheJobForACountBeyondWhatIsPlanned) {
  run([](World& world, const cuda::Api& api) {
    CountedCall call(world, api);
    Counts counts(call.size, 20);
    counts[1] = 101;
    call.prepare(counts, DType::f32, 1);
    meet(world);
    bool is_launched = false;
    const auto error = thrown_by([&] {
      static_cast<void>(call.call(Op::reduce_scatterv, DType::f32, 100));
      is_launched = true;
      call.session.wait(call.gpu.stream());
    });
    ASSERT_TRUE(error);
    EXPECT_EQ(error->code(), ErrorCode::usage) << error->what();
    EXPECT_THAT(error->what(), HasSubstr("found 101 as count 1 on the device"));
    EXPECT_THAT(error->what(), HasSubstr("reduce_scatterv(sum, f32"));
    call.gpu.await(call.gpu.stream());
    const std::vector<float> output = call.output(101);
    const bool is_cut = call.self == 1;
    // A call of a third rank may come after the fault.
    EXPECT_EQ(std::isnan(output[0]), is_launched);
    EXPECT_EQ(std::isnan(output[is_cut ? 99 : 19]), is_launched);
    EXPECT_FALSE(std::isnan(output[100])) << "written beyond the output";
    call.session.close();
  });
}

INSTANTIATE_TEST_SUITE_P(
    All, GpuCounted, testing::Combine(testing::Values(RankMode::threads), testing::Values(2U, 3U)),
    [](const auto& entry) { return "ranks" + std::to_string(std::get<1>(entry.param)); });

TEST(GpuCountedRefusal, NamesWhatIsWrong) {
  test::run_gpu_ranks(RankMode::threads, 2, [](World& world, const cuda::Api& api) {
    CountedCall call(world, api);
    const Buffer buffer = call.session.take(SlotId{0});
    const Group tp = call.session.group(GroupKind::tp).on(call.gpu.stream());
    const Tensor part{buffer.data(), 10, DType::f32};
    const auto text_of = [&](const std::function<void()>& body) {
      const auto error = thrown_by(body);
      return error ? std::string(error->what()) : std::string("no error");
    };
    const std::byte* const words = buffer.as<std::byte>() + 1024;
    const DeviceCounts odd{reinterpret_cast<const std::uint64_t*>(words + 1)};
    const DeviceCounts even{reinterpret_cast<const std::uint64_t*>(words)};
    const Tensor apart{buffer.as<std::byte>() + 400, 20, DType::f32};
    EXPECT_THAT(text_of([&] { static_cast<void>(tp.all_gatherv(part, apart, DeviceCounts{})); }),
                HasSubstr("null"));
    EXPECT_THAT(text_of([&] { static_cast<void>(tp.all_gatherv(part, apart, odd)); }),
                HasSubstr("not aligned"));
    const Tensor over{buffer.data(), 20, DType::f32};
    EXPECT_THAT(text_of([&] { static_cast<void>(tp.all_gatherv(part, over, even)); }),
                HasSubstr("all_gatherv with counts on the device has no in-place form"));
    call.session.close();
  });
}

}  // namespace
}  // namespace cohort
