// Algorithm::split: every operation and type against a plain reduction, and what it does when peers
// are late, differ or have failed.

#include <algorithm>
#include <cstring>
#include <numeric>
#include <random>

#include <gtest/gtest.h>

#include "gpu/device_group.hpp"
#include "support/reference_reduce.hpp"

namespace cohort::test {
namespace {

using Bytes = std::vector<std::byte>;

struct Shape {
  Op op = Op::all_reduce;
  ReduceOp reduce_op = ReduceOp::sum;
  DType dtype = DType::bf16;
  std::uint64_t bytes = 0;
  std::vector<std::uint64_t> counts = {};  // of the v-forms
  std::uint32_t root = 0;
  bool in_place = false;
  std::size_t shift = 0;  // of all operands, behind an aligned address
  std::uint32_t blocks = 4;
  std::uint32_t threads = 128;
  std::uint32_t lines = 1;
};

bool is_reduction(Op op) {
  return op == Op::all_reduce || op == Op::reduce_scatter || op == Op::reduce_scatterv;
}

std::uint64_t sum_of(const std::vector<std::uint64_t>& counts, std::size_t first, std::size_t step,
                     std::size_t count) {
  std::uint64_t sum = 0;
  for (std::size_t k = 0; k < count; ++k) sum += counts[first + k * step];
  return sum;
}

std::uint64_t input_bytes(const Shape& shape, std::size_t member, std::size_t members) {
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
Bytes expected(const Shape& shape, const std::vector<Bytes>& inputs, std::size_t member) {
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

class GpuSplit : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string why_not;
    api_ = find_plugin(&why_not);
    if (api_ == nullptr) GTEST_SKIP() << why_not;
  }

  cuda::KernelCall make_call(const DeviceGroup& group, const Shape& shape, std::uint32_t member) {
    cuda::KernelCall call = group.call(member);
    call.op = shape.op;
    call.reduce_op = shape.reduce_op;
    call.dtype = shape.dtype;
    call.algorithm = cuda::Algorithm::split;
    call.protocol = cuda::Protocol::sentinel;
    call.root = shape.root;
    call.blocks = shape.blocks;
    call.threads = shape.threads;
    call.lines_per_thread = shape.lines;
    call.bytes = shape.bytes;
    call.counts = shape.counts.empty() ? nullptr : shape.counts.data();
    call.hash += shape.bytes;
    return call;
  }

  // Runs a call on every member and compares bit by bit.
  void run(DeviceGroup& group, const Shape& shape) {
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

  const cuda::Api* api_ = nullptr;
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
          Shape shape{.reduce_op = op, .dtype = dtype, .bytes = bytes};
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
          Shape shape{.op = op, .dtype = DType::u8, .bytes = bytes, .shift = shift};
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
      Shape shape{.dtype = DType::f32};
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
      Shape shape{.bytes = (32 << 20) + 2, .in_place = in_place};
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
      Shape shape{.bytes = bytes};
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

// Makes the call on the members of `present`, the last one with another hash if `differs`, and
// returns whether each one's output is all NaN.
class GpuSplitFaults : public GpuSplit {
 protected:
  void launch(DeviceGroup& group, std::uint32_t member, std::uint64_t hash_change,
              const Operand& input, const Operand& output) {
    const Shape shape{.bytes = 65536};
    cuda::KernelCall call = make_call(group, shape, member);
    call.deadline_ns = 300'000'000;
    call.hash ^= hash_change;
    call.input = input.address();
    call.output = output.address();
    check(api_->launch(group.device(member), &call), "launch");
  }

  static bool is_all_nan(const Operand& output) {
    const Bytes content = output.read();
    for (std::size_t at = 0; at < content.size(); at += 2) {
      if (content[at] != std::byte{0xc0} || content[at + 1] != std::byte{0x7f}) return false;
    }
    return true;
  }
};

TEST_F(GpuSplitFaults, AnotherCallOnThePeerIsAMismatchOnBoth) {
  DeviceGroup group(*api_, 2, 65536);
  std::vector<Operand> inputs;
  std::vector<Operand> outputs;
  for (std::uint32_t member = 0; member < 2; ++member) {
    inputs.emplace_back(group.device_of(member), 65536);
    outputs.emplace_back(group.device_of(member), 65536);
    outputs.back().poison();
  }
  for (std::uint32_t member = 0; member < 2; ++member) {
    launch(group, member, member, inputs[member], outputs[member]);
  }
  group.wait();
  int mismatches = 0;
  for (std::uint32_t member = 0; member < 2; ++member) {
    const cuda::FaultRecord fault = group.fault(member);
    EXPECT_EQ(fault.complete, 1U);
    // Whoever finds it first tells the other.
    if (fault.kind == cuda::FaultRecord::Kind::mismatch) {
      ++mismatches;
      EXPECT_EQ(fault.own_hash ^ fault.their_hash, 1U);
      EXPECT_EQ(fault.member, 1 - member);
    } else {
      EXPECT_EQ(fault.kind, cuda::FaultRecord::Kind::poisoned);
    }
    EXPECT_TRUE(is_all_nan(outputs[member]));
    EXPECT_TRUE(outputs[member].is_intact());
  }
  EXPECT_GE(mismatches, 1);
}

TEST_F(GpuSplitFaults, AMissingPeerEndsTheCallAtTheDeadline) {
  DeviceGroup group(*api_, 2, 65536);
  const Operand input(group.device_of(0), 65536);
  Operand output(group.device_of(0), 65536);
  output.poison();
  launch(group, 0, 0, input, output);
  group.wait();
  const cuda::FaultRecord fault = group.fault(0);
  EXPECT_EQ(fault.complete, 1U);
  EXPECT_EQ(fault.kind, cuda::FaultRecord::Kind::deadline);
  EXPECT_EQ(fault.member, 1U);
  EXPECT_GE(fault.waited_ns, 300'000'000U);
  EXPECT_TRUE(is_all_nan(output));
  // The peer that comes late finds itself poisoned and does not wait.
  const Operand late_input(group.device_of(1), 65536);
  Operand late_output(group.device_of(1), 65536);
  late_output.poison();
  launch(group, 1, 0, late_input, late_output);
  group.wait();
  EXPECT_EQ(group.fault(1).kind, cuda::FaultRecord::Kind::poisoned);
  EXPECT_TRUE(is_all_nan(late_output));
}

TEST_F(GpuSplitFaults, PoisonReachesACallThatWaits) {
  DeviceGroup group(*api_, 2, 65536);
  const Operand input(group.device_of(0), 65536);
  Operand output(group.device_of(0), 65536);
  output.poison();
  cuda::KernelCall call = make_call(group, Shape{.bytes = 65536}, 0);
  call.deadline_ns = 30'000'000'000;
  call.input = input.address();
  call.output = output.address();
  check(api_->launch(group.device(0), &call), "launch");
  check(api_->poke(group.device(0), group.arena(0), 1), "poke");
  group.wait();
  EXPECT_EQ(group.fault(0).kind, cuda::FaultRecord::Kind::poisoned);
  EXPECT_TRUE(is_all_nan(output));
}

TEST_F(GpuSplitFaults, AnotherGenerationIsAFault) {
  DeviceGroup group(*api_, 2, 65536);
  const Operand input(group.device_of(0), 65536);
  Operand output(group.device_of(0), 65536);
  cuda::KernelCall call = make_call(group, Shape{.bytes = 65536}, 0);
  call.generation += 1;
  call.input = input.address();
  call.output = output.address();
  check(api_->launch(group.device(0), &call), "launch");
  group.wait();
  EXPECT_EQ(group.fault(0).kind, cuda::FaultRecord::Kind::stale_generation);
  EXPECT_TRUE(is_all_nan(output));
}

TEST_F(GpuSplit, RefusesWhatDoesNotFit) {
  DeviceGroup group(*api_, 2, 65536);
  Shape shape{.bytes = 65536 + 512};
  const cuda::KernelCall too_large = make_call(group, shape, 0);
  EXPECT_EQ(api_->launch(group.device(0), &too_large).code, cuda::Status::Code::usage);
  shape = {.bytes = 1024, .threads = 96};
  const cuda::KernelCall odd_threads = make_call(group, shape, 0);
  EXPECT_EQ(api_->launch(group.device(0), &odd_threads).code, cuda::Status::Code::usage);
}

}  // namespace
}  // namespace cohort::test
