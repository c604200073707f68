// What comes out of every family of kernels: compared with float64 on new random data in every run,
// and bit for bit on values that tell careless code apart (NaN, infinities, denormals, zeros of
// both signs, and the very word that scratch holds where nothing has arrived). Through sessions,
// operands in slots with guards around, or outside of the arena with canaries around.

#include <algorithm>
#include <array>
#include <cstring>
#include <iostream>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <cohort/cohort.hpp>

#include "backend/cuda/channel_map.hpp"
#include "backend/host/domain.hpp"
#include "contract/reference_values.hpp"
#include "gpu/rank_gpu.hpp"
#include "support/reference_reduce.hpp"

namespace cohort {
namespace {

using test::RankGpu;
using test::RankMode;
using Bytes = std::vector<std::byte>;

/// What a family of kernels needs: a path, and operands of that many bytes.
struct Family {
  const char* name;
  PathTable table;
  std::uint32_t ranks;
  std::size_t bytes;  ///< of the operand of an all_reduce
  std::size_t shift;  ///< elements behind an aligned address
};

constexpr std::size_t kMiB = std::size_t{1} << 20;

std::vector<Family> families() {
  // Beyond what one line or two a thread can hold. The fake's kernels have one shape only.
  const std::size_t large = test::is_over_fake() ? kMiB / 2 : 18 * kMiB;
  const std::size_t two_lines = test::is_over_fake() ? kMiB / 4 : 5 * kMiB;
  const PathTable lamport = PathTable::pinned(Path::gpu_lamport);
  const PathTable two_shot = PathTable::pinned(Path::gpu_two_shot);
  return {{"flags", PathTable::pinned(Path::gpu_ll), 2, 4000, 0},
          {"flags_of_three", PathTable::pinned(Path::gpu_ll), 3, 2046, 1},
          {"pair", lamport, 2, 96 * 1024, 0},
          {"pair_of_two_lines", lamport, 2, two_lines, 0},
          {"once", lamport, 2, 96 * 1024 + 4, 1},
          {"once_of_three", lamport, 3, 96 * 1024, 0},
          {"split", lamport, 2, large, 0},
          {"split_of_three", lamport, 3, large + 8, 1},
          {"two_shot", two_shot, 3, 300 * 1024, 0},
          {"two_shot_of_four", two_shot, 4, 1024 * 1024 + 4, 1},
          {"alone", lamport, 1, 96 * 1024, 0},
          {"alone_elsewhere", lamport, 1, 96 * 1024 + 2, 1}};
}

/// Slots with guards between them, which no call may touch.
class Slots {
 public:
  static constexpr std::size_t kGuardWords = 1024;

  static Plan plan(const Family& family) {
    Plan plan(Layout{{.tp = family.ranks}}, {.path_table = family.table, .memory = Memory::cuda});
    const std::size_t words = family.bytes / 4 + 1024;
    const auto add = [&](const char* name, std::size_t rows) {
      static_cast<void>(plan.slot(
          name, {.groups = {GroupKind::tp}, .rows_max = rows, .row_elements = 1, .depth = 1}));
    };
    add("guard before", kGuardWords);
    add("input", words);
    add("guard between", kGuardWords);
    add("output", words);
    add("guard behind", kGuardWords);
    return plan;
  }

  Slots(Session& session, const RankGpu& gpu) : gpu_(&gpu) {
    for (const std::uint32_t guard : {0U, 2U, 4U}) {
      guards_.push_back(session.take(SlotId{guard}));
      gpu.write_all(guards_.back().elements(kGuardWords), guard_words());
    }
    for (const std::uint32_t slot : {1U, 3U}) entries_.push_back(session.take(SlotId{slot}));
  }

  /// The input or output of a call, with all of its entry filled with a pattern first.
  Tensor operand(bool is_output, std::size_t elements, DType dtype, std::size_t shift) {
    const Buffer& entry = entries_[is_output ? 1 : 0];
    pattern_[is_output ? 1 : 0].assign(entry.rows_max() * sizeof(float), std::byte{0x5A});
    gpu_->write(entry.data(), pattern_[is_output ? 1 : 0]);
    return {entry.as<std::byte>() + shift * bytes_of(dtype), elements, dtype};
  }

  /// That nothing is written in an entry but the operand, and in a guard at all.
  void expect_intact(const Tensor& input, const Bytes& sent, const Tensor& output) const {
    for (const Buffer& guard : guards_) {
      ASSERT_EQ(gpu_->read_all<std::uint32_t>(guard.elements(kGuardWords)), guard_words());
    }
    ASSERT_EQ(gpu_->read(input.data, sent.size()), sent) << "the input changed";
    for (std::size_t which = 0; which < 2; ++which) {
      const Tensor& operand = which == 0 ? input : output;
      Bytes all = gpu_->read(entries_[which].data(), pattern_[which].size());
      const auto begin = static_cast<const std::byte*>(operand.data) -
                         static_cast<const std::byte*>(entries_[which].data());
      const std::size_t bytes = operand.elements * bytes_of(operand.dtype);
      std::fill_n(all.begin() + begin, bytes, std::byte{0x5A});
      ASSERT_TRUE(all == pattern_[which])
          << "stored beside the " << (which == 0 ? "input" : "output");
    }
  }

 private:
  static std::vector<std::uint32_t> guard_words() {
    return std::vector<std::uint32_t>(kGuardWords, 0xC0FFEE11);
  }

  const RankGpu* gpu_;
  std::vector<Buffer> guards_;
  std::vector<Buffer> entries_;
  std::array<Bytes, 2> pattern_;
};

// --- against float64
// ------------------------------------------------------------------------------

constexpr std::array kReals = {DType::f32, DType::bf16, DType::f16};

/// One reduction on new random data.
class RandomSum {
 public:
  RandomSum(Op op, DType dtype, const Family& family, std::uint64_t seed)
      : op_(op), dtype_(dtype), seed_(seed) {
    const std::size_t element = bytes_of(dtype);
    elements_ = family.bytes / element - family.shift;
    if (op != Op::all_reduce) elements_ /= family.ranks;  // of a part
    shift_ = family.shift;
  }

  void run(Session& session, Slots& slots, const RankGpu& gpu, WorldRank self) const {
    const Group tp = session.group(GroupKind::tp).on(gpu.stream());
    const std::size_t in = op_ == Op::all_reduce ? elements_ : elements_ * tp.size();
    const Tensor input = slots.operand(false, in, dtype_, shift_);
    const Tensor output = slots.operand(true, elements_, dtype_, shift_);
    Bytes sent(in * bytes_of(dtype_));
    contract::fill(sent.data(), seed_, self, 0, in, dtype_);
    gpu.write(input.data, sent);
    if (op_ == Op::all_reduce) {
      static_cast<void>(tp.all_reduce(input, output, ReduceOp::sum));
    } else {
      static_cast<void>(tp.reduce_scatter(input, output, ReduceOp::sum));
    }
    session.wait(gpu.stream());
    const std::size_t first = op_ == Op::all_reduce ? 0 : elements_ * tp.rank().index();
    expect(gpu.read(output.data, elements_ * bytes_of(dtype_)), first, tp.ranks());
    slots.expect_intact(input, sent, output);
  }

 private:
  void expect(const Bytes& got, std::size_t first, std::span<const WorldRank> ranks) const {
    // Of large operands some of each line, thread and block, and the end.
    const std::size_t step = elements_ > 200'000 ? 61 : 1;
    for (std::size_t at = 0; at < elements_; at = at + step < elements_ ? at + step : elements_) {
      check(got, at, first, ranks);
    }
    if (elements_ > 0) check(got, elements_ - 1, first, ranks);
  }

  void check(const Bytes& got, std::size_t at, std::size_t first,
             std::span<const WorldRank> ranks) const {
    const std::uint64_t bits = contract::bits_at(got.data(), at, dtype_);
    contract::check_against_float64(bits, seed_, ranks, first + at, dtype_, ReduceOp::sum,
                                    std::string(to_string(op_)));
    ASSERT_EQ(bits, contract::reduced_bits(seed_, ranks, first + at, dtype_, ReduceOp::sum))
        << to_string(op_) << " " << to_string(dtype_) << ", element " << at << " of " << elements_;
  }

  Op op_;
  DType dtype_;
  std::uint64_t seed_;
  std::size_t elements_ = 0;
  std::size_t shift_ = 0;
};

/// The same on all ranks; ranks that are processes must be told.
std::uint64_t agree_on_seed(World& world) {
  const std::uint64_t mine = std::random_device{}();
  host::Domain& domain = world.domain();
  const auto all = domain.all_gather(std::as_bytes(std::span(&mine, 1)), "seed",
                                     domain.deadline_after(domain.limits().setup));
  std::uint64_t seed = 0;
  std::memcpy(&seed, all.at(0).data(), sizeof seed);
  return seed;
}

using FamilyAndMode = std::tuple<std::size_t, RankMode>;
class GpuSums : public testing::TestWithParam<FamilyAndMode> {};

TEST_P(GpuSums, AgreeWithFloat64OnNewData) {
  const auto [index, mode] = GetParam();
  const Family family = families().at(index);
  test::run_gpu_ranks(mode, family.ranks, [&](World& world, const cuda::Api& api) {
    const std::uint64_t seed = agree_on_seed(world);
    SCOPED_TRACE("seed " + std::to_string(seed));
    const RankGpu gpu(api, world.rank());
    Session session = commit(world, Slots::plan(family), gpu.commit_options());
    Slots slots(session, gpu);
    for (const DType dtype : kReals) {
      for (const Op op : {Op::all_reduce, Op::reduce_scatter}) {
        RandomSum(op, dtype, family, seed + static_cast<std::uint64_t>(dtype))
            .run(session, slots, gpu, world.rank());
        if (testing::Test::HasFatalFailure()) return;
      }
    }
    session.close();
  });
}

std::string name_of(const testing::TestParamInfo<FamilyAndMode>& entry) {
  return std::string(families().at(std::get<0>(entry.param)).name) + "_" +
         test::to_string(std::get<1>(entry.param));
}

INSTANTIATE_TEST_SUITE_P(All, GpuSums,
                         testing::Combine(testing::Range(std::size_t{0}, families().size()),
                                          testing::Values(RankMode::threads, RankMode::processes)),
                         name_of);

// --- values that tell careless code apart
// ---------------------------------------------------------

/// Bits of a type's special values, and the halves of the sentinel.
std::vector<std::uint64_t> special_bits(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return {0x7FC00000, 0xFFC00000, 0x7F800001, 0xFF800000,     0x7F800000, 0x00000001,
              0x80000001, 0x007FFFFF, 0x00800000, 0x00000000,     0x80000000, 0x7F7FFFFF,
              0xFF7FFFFF, 0x3F800000, 0xBF800000, cuda::kSentinel};
    case DType::bf16:
      return {0x7FC0, 0xFFC0, 0x7F81, 0xFF80, 0x7F80, 0x0001, 0x8001, 0x007F,
              0x0080, 0x0000, 0x8000, 0x7F7F, 0xFF7F, 0x3F80, 0xBF80, 0xFFFA};
    case DType::f16:
      return {0x7E00, 0xFE00, 0x7C01, 0xFC00, 0x7C00, 0x0001, 0x8001, 0x03FF,
              0x0400, 0x0000, 0x8000, 0x7BFF, 0xFBFF, 0x3C00, 0xBC00, 0xFFFA};
    default:
      return {0,
              1,
              ~std::uint64_t{0},
              0x8000000080000000,
              0x7FFFFFFF7FFFFFFF,
              0x8000000000000000,
              std::uint64_t{cuda::kSentinel} << 32 | cuda::kSentinel};
  }
}

/// Special values at random; or the sentinel alone, of all ranks, of one, or of every other line.
Bytes special_content(DType dtype, std::size_t elements, int pattern, std::uint32_t rank,
                      std::mt19937_64& random) {
  const std::size_t element = bytes_of(dtype);
  const std::vector<std::uint64_t> bits = special_bits(dtype);
  const std::uint64_t sentinel = std::uint64_t{cuda::kSentinel} << 32 | cuda::kSentinel;
  Bytes content(elements * element);
  for (std::size_t at = 0; at < elements; ++at) {
    std::uint64_t value = bits[random() % bits.size()];
    const bool is_even_line = at * element / cuda::kLineBytes % 2 == 0;
    if (pattern == 1 || (pattern == 2 && rank == 0) || (pattern == 3 && is_even_line)) {
      value = sentinel >> 8 * (at * element % 4);
    }
    std::memcpy(content.data() + at * element, &value, element);
  }
  return content;
}
constexpr int kPatterns = 4;

/// All ranks' operands of one call, the same on every rank.
std::vector<Bytes> contents_of(DType dtype, std::size_t elements, int pattern, std::uint32_t ranks,
                               std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<Bytes> contents;
  for (std::uint32_t rank = 0; rank < ranks; ++rank) {
    contents.push_back(special_content(dtype, elements, pattern, rank, random));
  }
  return contents;
}

class SpecialCalls {
 public:
  SpecialCalls(Session& session, Slots& slots, const RankGpu& gpu, std::size_t shift)
      : session_(session),
        slots_(slots),
        gpu_(gpu),
        tp_(session.group(GroupKind::tp).on(gpu.stream())),
        shift_(shift) {}

  void reduce(DType dtype, std::size_t elements, int pattern) {
    const auto contents = contents_of(dtype, elements, pattern, tp_.size(), ++seed_);
    for (const ReduceOp op : {ReduceOp::sum, ReduceOp::min, ReduceOp::max}) {
      call(dtype, contents, elements, test::reference_reduce(contents, dtype, op),
           [&](const Tensor& in, const Tensor& out) { return tp_.all_reduce(in, out, op); });
    }
  }

  void gather(DType dtype, std::size_t elements, int pattern) {
    const auto contents = contents_of(dtype, elements, pattern, tp_.size(), ++seed_);
    Bytes wanted;
    for (const Bytes& part : contents) wanted.insert(wanted.end(), part.begin(), part.end());
    call(dtype, contents, elements * tp_.size(), wanted,
         [&](const Tensor& in, const Tensor& out) { return tp_.all_gather(in, out); });
  }

  void exchange(DType dtype, std::size_t part, int pattern) {
    const auto contents = contents_of(dtype, part * tp_.size(), pattern, tp_.size(), ++seed_);
    const std::size_t bytes = part * bytes_of(dtype);
    Bytes wanted;
    for (const Bytes& from : contents) {
      const auto begin = from.begin() + static_cast<std::ptrdiff_t>(bytes * tp_.rank().index());
      wanted.insert(wanted.end(), begin, begin + static_cast<std::ptrdiff_t>(bytes));
    }
    call(dtype, contents, part * tp_.size(), wanted,
         [&](const Tensor& in, const Tensor& out) { return tp_.all_to_all(in, out); });
  }

 private:
  template <typename Call>
  void call(DType dtype, const std::vector<Bytes>& contents, std::size_t out_elements,
            const Bytes& wanted, const Call& collective) {
    const Bytes& sent = contents[tp_.rank().index()];
    const Tensor input = slots_.operand(false, sent.size() / bytes_of(dtype), dtype, shift_);
    const Tensor output = slots_.operand(true, out_elements, dtype, shift_);
    gpu_.write(input.data, sent);
    static_cast<void>(collective(input, output));
    session_.wait(gpu_.stream());
    const Bytes got = gpu_.read(output.data, wanted.size());
    const auto [differs, _] = std::ranges::mismatch(got, wanted);
    ASSERT_TRUE(got == wanted) << to_string(dtype) << ", byte " << differs - got.begin() << " of "
                               << got.size();
    slots_.expect_intact(input, sent, output);
  }

  Session& session_;
  Slots& slots_;
  const RankGpu& gpu_;
  Group tp_;
  std::size_t shift_;
  std::uint64_t seed_ = 0;
};

class GpuSpecialValues : public testing::TestWithParam<FamilyAndMode> {};

TEST_P(GpuSpecialValues, KeepTheirMeaning) {
  const auto [index, mode] = GetParam();
  Family family = families().at(index);
  test::run_gpu_ranks(mode, family.ranks, [&](World& world, const cuda::Api& api) {
    const RankGpu gpu(api, world.rank());
    Session session = commit(world, Slots::plan(family), gpu.commit_options());
    Slots slots(session, gpu);
    SpecialCalls calls(session, slots, gpu, family.shift);
    for (int pattern = 0; pattern < kPatterns; ++pattern) {
      SCOPED_TRACE("pattern " + std::to_string(pattern));
      for (const DType dtype : all_dtypes()) {
        const std::size_t all = family.bytes / bytes_of(dtype) - family.shift;
        const std::size_t part = all / family.ranks;
        for (const std::size_t parts : {std::size_t{7}, part}) {
          if (is_reducible(dtype)) calls.reduce(dtype, parts == part ? all : parts, pattern);
          calls.gather(dtype, parts, pattern);
          calls.exchange(dtype, parts, pattern);
          if (testing::Test::HasFatalFailure()) return;
        }
      }
    }
    session.close();
  });
}

// Large operands take long to compare; what is special to `split` is one family for them.
INSTANTIATE_TEST_SUITE_P(Threads, GpuSpecialValues,
                         testing::Combine(testing::Values(0U, 1U, 2U, 4U, 5U, 8U, 10U, 11U),
                                          testing::Values(RankMode::threads)),
                         name_of);
INSTANTIATE_TEST_SUITE_P(Processes, GpuSpecialValues,
                         testing::Combine(testing::Values(0U, 2U),
                                          testing::Values(RankMode::processes)),
                         name_of);

}  // namespace
}  // namespace cohort
