// Norms behind collectives: the fused calls against the calls that they stand for, bit by bit.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "collectives/cuda/norm_shape.hpp"
#include "gpu/norm_fixture.hpp"

namespace cohort::test {
namespace {

using cuda::NormOutput;

// One fused call over a group. Rows by member of reduce_scatterv, else one count for all.
struct FusedShape {
  Op op = Op::all_reduce;
  DType dtype = DType::bf16;
  NormOutput output = NormOutput::plain;
  std::uint32_t hidden = 1024;
  std::vector<std::uint64_t> rows = {1};

  std::uint64_t rows_in(std::uint32_t members) const {
    if (op == Op::all_reduce) return rows[0];
    if (op == Op::reduce_scatter) return rows[0] * members;
    return std::accumulate(rows.begin(), rows.end(), std::uint64_t{0});
  }
  std::uint64_t rows_out(std::uint32_t member) const {
    return op == Op::reduce_scatterv ? rows[member] : rows[0];
  }
  std::vector<std::uint64_t> counts() const {
    std::vector<std::uint64_t> bytes;
    for (const std::uint64_t count : rows) bytes.push_back(count * hidden * 2);
    return bytes;
  }
};

class GpuFused : public NormTest {
 protected:
  // The collective of a shape, as `split` would run it.
  static cuda::KernelCall make_call(const DeviceGroup& group, const FusedShape& shape,
                                    const std::vector<std::uint64_t>& counts,
                                    std::uint32_t member) {
    cuda::KernelCall call = group.call(member);
    call.op = shape.op;
    call.reduce_op = ReduceOp::sum;
    call.dtype = shape.dtype;
    call.algorithm = cuda::Algorithm::split;
    call.protocol = cuda::Protocol::sentinel;
    call.blocks = 4;
    call.threads = 128;
    call.lines_per_thread = 1;
    call.bytes = shape.op == Op::reduce_scatterv ? 0 : counts[0];
    call.counts = shape.op == Op::reduce_scatterv ? counts.data() : nullptr;
    return call;
  }

  void launch_fused(const DeviceGroup& group, cuda::KernelCall call, const cuda::Norm& norm,
                    std::uint32_t member, std::uint32_t blocks, std::uint32_t blocks_per_row = 1) {
    const cuda::NormShape norm_shape = cuda::norm_shape(norm.hidden);
    call.algorithm = cuda::Algorithm::once;
    call.blocks = blocks;
    call.threads = norm_shape.threads;
    call.lines_per_thread = norm_shape.lines_per_thread;
    const cuda::FusedCall fused{call, norm, blocks_per_row};
    check(api_->launch_fused(group.device(member), &fused), "launch_fused");
  }

  // The collective and the norm one after the other, then the fused call with each grid: all the
  // same bits.
  void compare(DeviceGroup& group, const FusedShape& shape) {
    const std::uint32_t members = group.members();
    const std::vector<std::uint64_t> counts = shape.counts();
    std::vector<Operand> inputs;
    std::vector<Operand> sums;
    std::vector<NormBuffers> apart;
    std::vector<NormBuffers> fused;
    const auto weights = as_bytes(random_row(shape.hidden, shape.dtype));
    for (std::uint32_t member = 0; member < members; ++member) {
      const int device = group.device_of(member);
      const std::size_t elements = shape.rows_in(members) * shape.hidden;
      inputs.emplace_back(device, elements * 2);
      auto content = random_row(elements, shape.dtype);
      if (!content.empty()) content[random_() % content.size()] = 0xFFFA;
      inputs.back().write(as_bytes(content));
      const std::size_t rows = shape.rows_out(member);
      sums.emplace_back(device, rows * shape.hidden * 2);
      const auto residual = as_bytes(random_row(rows * shape.hidden, shape.dtype));
      for (auto* buffers : {&apart, &fused}) {
        buffers->emplace_back(device, shape.dtype, shape.hidden, rows, shape.output);
        buffers->back().residual.write(residual);
        buffers->back().weight.write(weights);
        if (shape.output == NormOutput::f8_by_scale) {
          buffers->back().scales.write(
              as_bytes(std::vector<float>(std::max<std::size_t>(rows, 1), 0.01F)));
        }
      }
    }
    for (std::uint32_t member = 0; member < members; ++member) {
      cuda::KernelCall call = make_call(group, shape, counts, member);
      call.input = inputs[member].address();
      call.output = sums[member].address();
      check(api_->launch(group.device(member), &call), "launch");
    }
    for (std::uint32_t member = 0; member < members; ++member) {
      const cuda::Norm norm = apart[member].norm();
      check(api_->launch_norm(group.device(member), &norm, sums[member].address(),
                              shape.rows_out(member), group.stream(member)),
            "launch_norm");
    }
    group.wait();
    for (std::uint32_t member = 0; member < members; ++member) {
      ASSERT_EQ(describe_fault(group.fault(member)), "") << "apart, member " << member;
    }
    for (const auto& [blocks, blocks_per_row] : {std::pair{1U, 1U}, {3U, 1U}, {3U, 3U}, {8U, 4U}}) {
      // All of it first: it waits for the device, where kernels of other members would wait for us.
      for (NormBuffers& buffers : fused) buffers.poison();
      for (std::uint32_t member = 0; member < members; ++member) {
        cuda::KernelCall call = make_call(group, shape, counts, member);
        call.input = inputs[member].address();
        launch_fused(group, call, fused[member].norm(), member, blocks, blocks_per_row);
      }
      group.wait();
      for (std::uint32_t member = 0; member < members; ++member) {
        ASSERT_EQ(describe_fault(group.fault(member)), "") << "member " << member;
        ASSERT_EQ(fused[member].residual_out.read(), apart[member].residual_out.read());
        ASSERT_EQ(fused[member].normed.read(), apart[member].normed.read());
        if (shape.output == NormOutput::f8_by_row && shape.rows_out(member) > 0) {
          ASSERT_EQ(fused[member].scales.read(), apart[member].scales.read());
        }
        ASSERT_TRUE(fused[member].is_intact());
      }
    }
  }
};

TEST_F(GpuFused, HasTheBitsOfTheCallsApart) {
  for (const std::uint32_t members : {2U, 3U, 8U}) {
    DeviceGroup group(*api_, members, (members - 1) * 24 * 16384 * 2);
    for (const DType dtype : {DType::bf16, DType::f16}) {
      for (const std::uint32_t hidden : {8U, 1024U, 4096U, 7168U, 16384U}) {
        for (const NormOutput output :
             {NormOutput::plain, NormOutput::f8_by_row, NormOutput::f8_by_scale}) {
          for (const std::uint64_t rows : {0U, 1U, 7U, 24U}) {
            SCOPED_TRACE(std::to_string(members) + " members, " + std::string(to_string(dtype)) +
                         ", " + std::to_string(rows) + " rows of " + std::to_string(hidden) +
                         ", output " + std::to_string(static_cast<int>(output)));
            compare(group, {Op::all_reduce, dtype, output, hidden, {rows}});
            if (output == NormOutput::plain) {
              compare(group, {Op::reduce_scatter, dtype, output, hidden, {rows / members}});
            }
            if (HasFatalFailure()) return;
          }
        }
      }
    }
    EXPECT_EQ(group.what_is_left(), "");
  }
}

TEST_F(GpuFused, RowsDifferByMember) {
  for (const std::uint32_t members : {2U, 5U}) {
    DeviceGroup group(*api_, members, (members - 1) * 12 * 7168 * 2);
    for (int round = 0; round < 10; ++round) {
      FusedShape shape{Op::reduce_scatterv, DType::bf16, NormOutput::f8_by_row, 7168, {}};
      for (std::uint32_t member = 0; member < members; ++member) {
        shape.rows.push_back(round == 0 ? 0 : random_() % 12);
      }
      SCOPED_TRACE("round " + std::to_string(round));
      compare(group, shape);
      if (HasFatalFailure()) return;
    }
    EXPECT_EQ(group.what_is_left(), "");
  }
}

TEST_F(GpuFused, ManyCallsInARow) {
  constexpr std::uint32_t kHidden = 7168;
  constexpr int kCalls = 2000;
  DeviceGroup group(*api_, 2, 16 * kHidden * 2);
  std::vector<Operand> inputs;
  std::vector<NormBuffers> buffers;
  const auto weights = as_bytes(random_row(kHidden, DType::bf16));
  const auto zeros = Bytes(std::size_t{16} * kHidden * 2);
  for (std::uint32_t member = 0; member < 2; ++member) {
    inputs.emplace_back(group.device_of(member), 16 * kHidden * 2);
    inputs.back().write(as_bytes(random_row(std::size_t{16} * kHidden, DType::bf16)));
    buffers.emplace_back(group.device_of(member), DType::bf16, kHidden, 16, NormOutput::plain);
    buffers.back().weight.write(weights);
    buffers.back().residual.write(zeros);
  }
  for (int call_index = 0; call_index < kCalls; ++call_index) {
    const std::uint64_t rows = call_index == kCalls - 1 ? 16 : random_() % 17;
    const FusedShape shape{Op::all_reduce, DType::bf16, NormOutput::plain, kHidden, {rows}};
    const std::vector<std::uint64_t> counts = shape.counts();
    const std::uint32_t blocks_per_row = 1 + static_cast<std::uint32_t>(random_() % 4);
    const std::uint32_t blocks = blocks_per_row * (1 + static_cast<std::uint32_t>(random_() % 16));
    for (std::uint32_t member = 0; member < 2; ++member) {
      cuda::KernelCall call = make_call(group, shape, counts, member);
      call.input = inputs[member].address();
      launch_fused(group, call, buffers[member].norm(), member, blocks, blocks_per_row);
    }
  }
  group.wait();
  EXPECT_EQ(buffers[0].residual_out.read(), buffers[1].residual_out.read());
  EXPECT_EQ(buffers[0].normed.read(), buffers[1].normed.read());
  for (std::uint32_t member = 0; member < 2; ++member) {
    EXPECT_EQ(group.fault(member).complete, 0U);
    EXPECT_EQ(group.tally(member).calls, static_cast<std::uint64_t>(kCalls));
  }
  EXPECT_EQ(group.what_is_left(), "");
}

TEST_F(GpuFused, AMissingPeerLeavesNaN) {
  DeviceGroup group(*api_, 2, 8 * 1024 * 2);
  for (const NormOutput output : {NormOutput::plain, NormOutput::f8_by_row}) {
    group.reset();
    NormBuffers buffers(group.device_of(0), DType::f16, 1024, 8, output);
    const Operand input(group.device_of(0), 8 * 1024 * 2);
    const FusedShape shape{Op::all_reduce, DType::f16, output, 1024, {8}};
    const std::vector<std::uint64_t> counts = shape.counts();
    cuda::KernelCall call = make_call(group, shape, counts, 0);
    call.deadline_ns = 300'000'000;
    call.input = input.address();
    launch_fused(group, call, buffers.norm(), 0, 6, 2);
    group.wait();
    EXPECT_EQ(group.fault(0).kind, cuda::FaultRecord::Kind::deadline);
    for (const std::uint16_t bits : as_elements<std::uint16_t>(buffers.residual_out.read())) {
      ASSERT_EQ(bits, kCanonicalNanF16);
    }
    if (output == NormOutput::plain) {
      for (const std::uint16_t bits : as_elements<std::uint16_t>(buffers.normed.read())) {
        ASSERT_EQ(bits, kCanonicalNanF16);
      }
    } else {
      for (const std::uint8_t bits : as_elements<std::uint8_t>(buffers.normed.read())) {
        ASSERT_EQ(int{bits}, 0x7F);
      }
      for (const float scale : as_elements<float>(buffers.scales.read())) {
        ASSERT_TRUE(std::isnan(scale));
      }
    }
    EXPECT_TRUE(buffers.is_intact());
  }
}

}  // namespace
}  // namespace cohort::test
