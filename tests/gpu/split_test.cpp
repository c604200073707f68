// Algorithm::split: every operation and type against a plain reduction.

#include <algorithm>
#include <cstring>
#include <numeric>
#include <random>

#include <gtest/gtest.h>

#include "gpu/split_fixture.hpp"
#include "support/reference_reduce.hpp"

namespace cohort::test {
namespace {

bool is_reduction(Op op) {
  return op == Op::all_reduce || op == Op::reduce_scatter || op == Op::reduce_scatterv;
}

std::uint64_t sum_of(const std::vector<std::uint64_t>& counts, std::size_t first, std::size_t step,
                     std::size_t count) {
  std::uint64_t sum = 0;
  for (std::size_t k = 0; k < count; ++k) sum += counts[first + k * step];
  return sum;
}

std::uint64_t input_bytes(const SplitShape& shape, std::size_t member, std::size_t members) {
  switch (shape.op) {
    case Op::all_gatherv: return shape.counts[member];
    case Op::reduce_scatter:
    case Op::all_to_all: return shape.bytes * members;
    case Op::reduce_scatterv: return sum_of(shape.counts, 0, 1, members);
    case Op::all_to_allv: return sum_of(shape.counts, member * members, 1, members);
    default: return shape.bytes;
  }
}

Bytes slice(const Bytes& bytes, std::uint64_t begin, std::uint64_t count) {
  const auto first = bytes.begin() + static_cast<std::ptrdiff_t>(begin);
  return {first, first + static_cast<std::ptrdiff_t>(count)};
}

void append(Bytes& to, const Bytes& more) {
  to.insert(to.end(), more.begin(), more.end());
}

// What `member` must have afterwards.
Bytes expected(const SplitShape& shape, const std::vector<Bytes>& inputs, std::size_t member) {
  const std::size_t members = inputs.size();
  Bytes result;
  if (shape.op == Op::broadcast) return inputs[shape.root];
  if (is_reduction(shape.op)) {
    const bool ragged = shape.op == Op::reduce_scatterv;
    const std::uint64_t begin = shape.op == Op::all_reduce ? 0
                                : ragged                   ? sum_of(shape.counts, 0, 1, member)
                                                           : shape.bytes * member;
    const std::uint64_t count = ragged ? shape.counts[member] : shape.bytes;
    std::vector<Bytes> parts;
    for (const Bytes& input : inputs) parts.push_back(slice(input, begin, count));
    return reference_reduce(parts, shape.dtype, shape.reduce_op);
  }
  for (std::size_t from = 0; from < members; ++from) {
    switch (shape.op) {
      case Op::all_to_all:
        append(result, slice(inputs[from], shape.bytes * member, shape.bytes));
        break;
      case Op::all_to_allv:
        append(result, slice(inputs[from], sum_of(shape.counts, from * members, 1, member),
                             shape.counts[from * members + member]));
        break;
      default: append(result, inputs[from]);
    }
  }
  return result;
}

// Ordinary values, some patterns at random, and now and then the word that means "not arrived".
Bytes random_content(std::mt19937& random, std::size_t bytes, DType dtype) {
  Bytes content(bytes);
  for (std::size_t at = 0; at + 4 <= bytes; at += 4) {
    std::uint32_t word = static_cast<std::uint32_t>(random());
    const std::uint32_t kind = word % 64;
    if (kind == 0) {
      word = cuda::kSentinel;
    } else if (kind > 4 && dtype == DType::bf16) {
      word = (word & 0x83FF83FFU) | 0x3C003C00U;  // about 1
    } else if (kind > 4 && dtype == DType::f16) {
      word = (word & 0xB7FFB7FFU) | 0x30003000U;
    } else if (kind > 4 && dtype == DType::f32) {
      word = (word & 0x83FFFFFFU) | 0x3C000000U;
    }
    std::memcpy(content.data() + at, &word, 4);
  }
  for (std::size_t at = bytes / 4 * 4; at < bytes; ++at) content[at] = std::byte(random());
  return content;
}

class GpuSplit : public SplitTest {
 protected:
  // Runs a call on every member and compares bit by bit.
  void run(DeviceGroup& group, const SplitShape& shape) {
    const std::uint32_t members = group.members();
    std::vector<Bytes> contents;
    for (std::uint32_t member = 0; member < members; ++member) {
      contents.push_back(random_content(random_, input_bytes(shape, member, members), shape.dtype));
    }
    std::vector<Bytes> wanted;
    std::vector<Operand> inputs;
    std::vector<Operand> outputs;
    for (std::uint32_t member = 0; member < members; ++member) {
      const int device = group.device_of(member);
      wanted.push_back(expected(shape, contents, member));
      inputs.emplace_back(device, contents[member].size(), shape.shift);
      inputs.back().write(contents[member]);
      outputs.emplace_back(device, wanted[member].size(), shape.shift);
      outputs.back().poison();
    }
    for (std::uint32_t member = 0; member < members; ++member) {
      cuda::KernelCall call = make_call(group, shape, member);
      call.input = inputs[member].address();
      call.output = shape.in_place ? call.input : outputs[member].address();
      check(api_->launch(group.device(member), &call), "launch");
    }
    group.wait();
    for (std::uint32_t member = 0; member < members; ++member) {
      ASSERT_EQ(describe_fault(group.fault(member)), "") << "member " << member;
      const Operand& result = shape.in_place ? inputs[member] : outputs[member];
      ASSERT_EQ(difference(result.read(), wanted[member]), "") << "member " << member;
      EXPECT_TRUE(inputs[member].is_intact());
      EXPECT_TRUE(outputs[member].is_intact());
    }
  }

  static std::string difference(const Bytes& got, const Bytes& wanted) {
    if (got.size() != wanted.size()) return "another size";
    const auto at = std::mismatch(got.begin(), got.end(), wanted.begin()).first;
    return at == got.end() ? "" : "from byte " + std::to_string(at - got.begin());
  }

  std::mt19937 random_{20261122};
};

// Around lines, chunks and rounds of the small grid of these tests.
std::vector<std::uint64_t> sizes_of(DType dtype) {
  const std::uint64_t one = bytes_of(dtype);
  std::vector<std::uint64_t> sizes = {0, one, 3 * one, 16, 16 + one, 512 - one, 512, 512 + one};
  for (const std::uint64_t round : {4096U, 8192U, 65536U}) {
    sizes.insert(sizes.end(), {round - one, round, round + one});
  }
  return sizes;
}

TEST_F(GpuSplit, ReductionsHaveTheBitsOfAPlainOne) {
  for (const std::uint32_t members : {2U, 3U, 5U}) {
    DeviceGroup group(*api_, members, (members - 1) * 70000);
    for (const DType dtype :
         {DType::bf16, DType::f16, DType::f32, DType::i32, DType::i64, DType::u8}) {
      for (const ReduceOp op : {ReduceOp::sum, ReduceOp::min, ReduceOp::max}) {
        for (const std::uint64_t bytes : sizes_of(dtype)) {
          SCOPED_TRACE(std::to_string(members) + " members, " + std::string(to_string(dtype)) +
                       " " + std::string(to_string(op)) + ", " + std::to_string(bytes) + " bytes");
          SplitShape shape{.reduce_op = op, .dtype = dtype, .bytes = bytes};
          shape.in_place = bytes % 3 == 0;
          shape.shift = bytes % 5 == 0 ? bytes_of(dtype) : 0;
          run(group, shape);
          shape.op = Op::reduce_scatter;
          shape.in_place = false;
          run(group, shape);
          if (HasFatalFailure()) return;
        }
      }
    }
    EXPECT_EQ(group.what_is_left(), "");
  }
}

TEST_F(GpuSplit, MovesTakeBytesAtFaceValue) {
  for (const std::uint32_t members : {2U, 4U, 8U}) {
    DeviceGroup group(*api_, members, (members - 1) * 70000);
    for (const Op op : {Op::all_gather, Op::broadcast, Op::all_to_all}) {
      for (const std::uint64_t bytes : sizes_of(DType::u8)) {
        for (const std::size_t shift : {std::size_t{0}, std::size_t{3}, std::size_t{8}}) {
          SCOPED_TRACE(std::string(to_string(op)) + ", " + std::to_string(bytes) + " bytes, " +
                       std::to_string(members) + " members, shifted by " + std::to_string(shift));
          SplitShape shape{.op = op, .dtype = DType::u8, .bytes = bytes, .shift = shift};
          shape.root = members - 1;
          if (members == 2) shape.lines = 1 + bytes % 2;
          run(group, shape);
          if (HasFatalFailure()) return;
        }
      }
    }
    EXPECT_EQ(group.what_is_left(), "");
  }
}

TEST_F(GpuSplit, PartsOfDifferentSizes) {
  for (const std::uint32_t members : {2U, 3U, 8U}) {
    DeviceGroup group(*api_, members, (members - 1) * 40000);
    std::uniform_int_distribution<std::uint64_t> sizes(0, 4000);
    for (int round = 0; round < 12; ++round) {
      SplitShape shape{.dtype = DType::f32};
      for (const Op op : {Op::all_gatherv, Op::reduce_scatterv, Op::all_to_allv}) {
        SCOPED_TRACE(std::string(to_string(op)) + ", round " + std::to_string(round));
        shape.op = op;
        shape.counts.resize(op == Op::all_to_allv ? members * members : members);
        for (std::uint64_t& count : shape.counts) count = 4 * sizes(random_);
        shape.counts[random_() % shape.counts.size()] = 0;
        run(group, shape);
        if (HasFatalFailure()) return;
      }
    }
    EXPECT_EQ(group.what_is_left(), "");
  }
}

TEST_F(GpuSplit, GroupsOfMoreThanEight) {
  DeviceGroup group(*api_, 11, 10 * 10240);
  for (const std::uint64_t bytes : {std::uint64_t{2}, std::uint64_t{9990}}) {
    for (const Op op : {Op::all_reduce, Op::reduce_scatter, Op::all_gather, Op::all_to_all}) {
      SCOPED_TRACE(std::string(to_string(op)) + ", " + std::to_string(bytes) + " bytes");
      run(group, {.op = op, .bytes = bytes});
      if (HasFatalFailure()) return;
    }
  }
  EXPECT_EQ(group.what_is_left(), "");
}

TEST_F(GpuSplit, LargeOperandsOverTheWholeDevice) {
  DeviceGroup group(*api_, 2, 33 << 20);
  if (group.crowd() > 1) GTEST_SKIP() << "needs a device for each of two ranks";
  for (const bool in_place : {false, true}) {
    for (const std::uint32_t lines : {1U, 2U}) {
      SplitShape shape{.bytes = (32 << 20) + 2, .in_place = in_place};
      shape.blocks = in_place ? 128 : 256;
      shape.threads = in_place ? 1024 : 512;
      shape.lines = lines;
      run(group, shape);
      shape.op = Op::all_gather;
      shape.in_place = false;
      run(group, shape);
      shape.op = Op::reduce_scatter;
      shape.dtype = DType::f32;
      shape.bytes = (16 << 20) + 4;
      run(group, shape);
    }
  }
  EXPECT_EQ(group.what_is_left(), "");
}

// Calls that follow each other at once, sizes mixed, so that buffers are used again while peers are
// still busy with the call before.
TEST_F(GpuSplit, ManyCallsInARow) {
  constexpr int kCalls = 3000;
  DeviceGroup group(*api_, 2, 1 << 20);
  std::vector<Operand> inputs;
  std::vector<Operand> outputs;
  std::vector<Bytes> contents;
  for (std::uint32_t member = 0; member < 2; ++member) {
    contents.push_back(random_content(random_, 1 << 20, DType::bf16));
    inputs.emplace_back(group.device_of(member), 1 << 20);
    inputs.back().write(contents.back());
    outputs.emplace_back(group.device_of(member), 1 << 20);
  }
  std::uint64_t bytes = 0;
  for (int call_index = 0; call_index < kCalls; ++call_index) {
    bytes = 16 * (random_() % (call_index % 10 == 0 ? 65536 : 1024));
    if (call_index == kCalls - 1) bytes = 1 << 20;
    for (std::uint32_t member = 0; member < 2; ++member) {
      SplitShape shape{.bytes = bytes};
      shape.blocks = group.crowd() > 1 ? 16 : 64;
      cuda::KernelCall call = make_call(group, shape, member);
      call.input = inputs[member].address();
      call.output = outputs[member].address();
      check(api_->launch(group.device(member), &call), "launch");
    }
  }
  group.wait();
  const Bytes wanted = reference_reduce(contents, DType::bf16, ReduceOp::sum);
  for (std::uint32_t member = 0; member < 2; ++member) {
    EXPECT_EQ(group.fault(member).complete, 0U);
    EXPECT_EQ(difference(outputs[member].read(), wanted), "");
    EXPECT_EQ(group.tally(member).calls, static_cast<std::uint64_t>(kCalls));
  }
  EXPECT_EQ(group.what_is_left(), "");
}

}  // namespace
}  // namespace cohort::test
