// Norms, alone and behind collectives: against float64, and the fused calls against the calls that
// they stand for, bit by bit.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <utility>

#include <gtest/gtest.h>

#include "base/bf16.hpp"
#include "base/f16.hpp"
#include "collectives/cuda/norm_shape.hpp"
#include "gpu/device_group.hpp"

namespace cohort::test {
namespace {

using Bytes = std::vector<std::byte>;
using cuda::NormOutput;

constexpr float kEpsilon = 1e-5F;

float wide(std::uint16_t bits, DType dtype) {
  return dtype == DType::bf16 ? f32_from_bf16(bits) : f32_from_f16(bits);
}
std::uint16_t narrow(float value, DType dtype) {
  return dtype == DType::bf16 ? bf16_from_f32(value) : f16_from_f32(value);
}

template <typename Element>
Bytes as_bytes(const std::vector<Element>& elements) {
  Bytes bytes(elements.size() * sizeof(Element));
  if (!bytes.empty()) std::memcpy(bytes.data(), elements.data(), bytes.size());
  return bytes;
}
template <typename Element>
std::vector<Element> as_elements(const Bytes& bytes) {
  std::vector<Element> elements(bytes.size() / sizeof(Element));
  if (!bytes.empty()) std::memcpy(elements.data(), bytes.data(), bytes.size());
  return elements;
}

// What an f8e4m3 byte means: 4 bits of exponent with bias 7, no infinities, one NaN.
double f8_value(unsigned bits) {
  const int exponent = static_cast<int>(bits >> 3 & 15U);
  const double fraction = bits & 7U;
  if ((bits & 0x7FU) == 0x7F) return std::numeric_limits<double>::quiet_NaN();
  const double magnitude =
      exponent == 0 ? std::ldexp(fraction, -9) : std::ldexp(8 + fraction, exponent - 10);
  return (bits & 0x80U) != 0 ? -magnitude : magnitude;
}

// The nearest one, ties to the even one; beyond the largest the largest.
std::uint8_t f8_from(float value) {
  if (std::isnan(value)) return 0x7F;
  const unsigned sign = std::signbit(value) ? 0x80 : 0;
  const double magnitude = std::min(448.0, static_cast<double>(std::fabs(value)));
  unsigned best = 0;
  for (unsigned bits = 1; bits < 0x7F; ++bits) {
    const double distance = std::fabs(f8_value(bits) - magnitude);
    const double before = std::fabs(f8_value(best) - magnitude);
    if (distance < before || (distance == before && bits % 2 == 0)) best = bits;
  }
  return static_cast<std::uint8_t>(sign | best);
}

// What goes into a norm of `rows` rows on one rank, and what comes out of it.
struct NormBuffers {
  NormBuffers(int device, DType type, std::uint32_t row, std::size_t row_count, NormOutput form)
      : dtype(type),
        hidden(row),
        rows(row_count),
        output(form),
        residual(device, rows * hidden * 2),
        weight(device, std::size_t{hidden} * 2),
        residual_out(device, rows * hidden * 2),
        normed(device, rows * hidden * (form == NormOutput::plain ? 2 : 1)),
        scales(device, std::max<std::size_t>(rows, 1) * 4) {
    poison();
  }
  void poison() {
    residual_out.poison();
    normed.poison();
    if (output != NormOutput::f8_by_scale) scales.poison();
  }
  cuda::Norm norm() const {
    cuda::Norm norm{};
    norm.dtype = dtype;
    norm.output = output;
    norm.hidden = hidden;
    norm.epsilon = kEpsilon;
    norm.residual = residual.address();
    norm.weight = weight.address();
    norm.residual_out = residual_out.address();
    norm.normed = normed.address();
    norm.scales = output == NormOutput::plain ? 0 : scales.address();
    return norm;
  }
  bool is_intact() const {
    return residual_out.is_intact() && normed.is_intact() && scales.is_intact();
  }

  DType dtype;
  std::uint32_t hidden;
  std::size_t rows;
  NormOutput output;
  Operand residual;
  Operand weight;
  Operand residual_out;
  Operand normed;
  Operand scales;
};

class GpuNorm : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string why_not;
    api_ = find_plugin(&why_not);
    if (api_ == nullptr) GTEST_SKIP() << why_not;
  }

  std::vector<std::uint16_t> random_row(std::size_t elements, DType dtype, float size = 1) {
    std::normal_distribution<float> normal(0, size);
    std::vector<std::uint16_t> row(elements);
    for (std::uint16_t& element : row) element = narrow(normal(random_), dtype);
    return row;
  }

  const cuda::Api* api_ = nullptr;
  std::mt19937 random_{7};
};

// A row of ones is its own norm, so the weights come out as they are.
TEST_F(GpuNorm, EveryValueBecomesTheNearestF8) {
  DeviceGroup group(*api_, 2, 512);
  constexpr std::uint32_t kHidden = 16384;
  for (const DType dtype : {DType::bf16, DType::f16}) {
    const std::vector<std::uint16_t> ones(kHidden, narrow(1, dtype));
    const std::vector<std::uint16_t> zeros(kHidden, 0);
    Operand input(0, kHidden * 2);
    input.write(as_bytes(ones));
    for (std::uint32_t first = 0; first < 65536; first += kHidden) {
      NormBuffers buffers(0, dtype, kHidden, 1, NormOutput::f8_by_scale);
      std::vector<std::uint16_t> weights(kHidden);
      std::iota(weights.begin(), weights.end(), static_cast<std::uint16_t>(first));
      buffers.weight.write(as_bytes(weights));
      buffers.residual.write(as_bytes(zeros));
      buffers.scales.write(as_bytes(std::vector<float>{1.0F}));
      cuda::Norm norm = buffers.norm();
      norm.epsilon = 0;
      check(api_->launch_norm(group.device(0), &norm, input.address(), 1, group.stream(0)),
            "launch_norm");
      group.wait();
      const auto got = as_elements<std::uint8_t>(buffers.normed.read());
      for (std::uint32_t at = 0; at < kHidden; ++at) {
        ASSERT_EQ(int{got[at]}, int{f8_from(wide(weights[at], dtype))})
            << to_string(dtype) << " bits " << weights[at];
      }
      EXPECT_TRUE(buffers.is_intact());
    }
  }
}

// Rounding to 8 or 11 bits is all that may be between the result and float64.
TEST_F(GpuNorm, AgreesWithFloat64) {
  DeviceGroup group(*api_, 2, 512);
  for (const DType dtype : {DType::bf16, DType::f16}) {
    for (const std::uint32_t hidden : {8U, 64U, 576U, 1024U, 4104U, 7168U, 16384U}) {
      SCOPED_TRACE(std::string(to_string(dtype)) + ", rows of " + std::to_string(hidden));
      constexpr std::size_t kRows = 5;
      NormBuffers buffers(0, dtype, hidden, kRows, NormOutput::plain);
      const auto x = random_row(kRows * hidden, dtype, 3);
      const auto r = random_row(kRows * hidden, dtype);
      const auto weights = random_row(hidden, dtype);
      Operand input(0, kRows * hidden * 2);
      input.write(as_bytes(x));
      buffers.residual.write(as_bytes(r));
      buffers.weight.write(as_bytes(weights));
      const cuda::Norm norm = buffers.norm();
      check(api_->launch_norm(group.device(0), &norm, input.address(), kRows, group.stream(0)),
            "launch_norm");
      group.wait();
      const auto sums = as_elements<std::uint16_t>(buffers.residual_out.read());
      const auto normed = as_elements<std::uint16_t>(buffers.normed.read());
      const double step = dtype == DType::bf16 ? 0x1p-8 : 0x1p-11;
      for (std::size_t row = 0; row < kRows; ++row) {
        double squares = 0;
        for (std::size_t at = row * hidden; at < (row + 1) * hidden; ++at) {
          ASSERT_EQ(sums[at], narrow(wide(x[at], dtype) + wide(r[at], dtype), dtype));
          squares += std::pow(static_cast<double>(wide(sums[at], dtype)), 2);
        }
        const double scale = 1 / std::sqrt(squares / hidden + double{kEpsilon});
        for (std::size_t column = 0; column < hidden; ++column) {
          const std::size_t at = row * hidden + column;
          const double wanted =
              double{wide(sums[at], dtype)} * scale * wide(weights[column], dtype);
          const double slack = std::fabs(wanted) * step * 1.001 + 0x1p-24;
          ASSERT_NEAR(wide(normed[at], dtype), wanted, slack) << "row " << row;
        }
      }
      EXPECT_TRUE(buffers.is_intact());
    }
  }
}

TEST_F(GpuNorm, ScalesOfRowsPutTheLargestValueAt448) {
  DeviceGroup group(*api_, 2, 512);
  constexpr std::uint32_t kHidden = 1024;
  constexpr std::size_t kRows = 3;
  NormBuffers buffers(0, DType::bf16, kHidden, kRows, NormOutput::f8_by_row);
  NormBuffers plain(0, DType::bf16, kHidden, kRows, NormOutput::plain);
  auto x = random_row(kRows * kHidden, DType::bf16);
  std::fill_n(x.begin() + kHidden, kHidden, std::uint16_t{0});  // a row of zeros
  x[2 * kHidden + 5] = 0x7FC0;                                  // a row with a NaN
  const std::vector<std::uint16_t> zeros(kRows * kHidden, 0);
  Operand input(0, x.size() * 2);
  input.write(as_bytes(x));
  const auto weights = random_row(kHidden, DType::bf16);
  for (NormBuffers* some : {&buffers, &plain}) {
    some->weight.write(as_bytes(weights));
    some->residual.write(as_bytes(zeros));
    const cuda::Norm norm = some->norm();
    check(api_->launch_norm(group.device(0), &norm, input.address(), kRows, group.stream(0)),
          "launch_norm");
  }
  group.wait();
  const auto normed = as_elements<std::uint16_t>(plain.normed.read());
  const auto f8 = as_elements<std::uint8_t>(buffers.normed.read());
  const auto scales = as_elements<float>(buffers.scales.read());
  float largest = 0;
  for (std::size_t at = 0; at < kHidden; ++at) {
    largest = std::max(largest, std::fabs(f32_from_bf16(normed[at])));
  }
  EXPECT_EQ(scales[0], largest / 448.0F);
  EXPECT_EQ(scales[1], 0x1p-126F);
  EXPECT_TRUE(std::isnan(scales[2]));
  for (std::size_t at = 0; at < kHidden; ++at) {
    ASSERT_EQ(int{f8[at]}, int{f8_from(f32_from_bf16(normed[at]) * (1.0F / scales[0]))});
    ASSERT_EQ(f8[kHidden + at] & 0x7F, 0);
    ASSERT_EQ(int{f8[2 * kHidden + at]}, 0x7F);
  }
}

TEST_F(GpuNorm, RefusesWhatItCannotDo) {
  DeviceGroup group(*api_, 2, 512);
  const NormBuffers buffers(0, DType::bf16, 64, 1, NormOutput::plain);
  const Operand input(0, 128);
  const auto launch = [&](const cuda::Norm& norm) {
    return api_->launch_norm(group.device(0), &norm, input.address(), 1, group.stream(0)).code;
  };
  cuda::Norm norm = buffers.norm();
  norm.hidden = 12;
  EXPECT_EQ(launch(norm), cuda::Status::Code::usage);
  norm.hidden = 16392;
  EXPECT_EQ(launch(norm), cuda::Status::Code::usage);
  norm = buffers.norm();
  norm.residual += 2;
  EXPECT_EQ(launch(norm), cuda::Status::Code::usage);
  norm = buffers.norm();
  norm.dtype = DType::f32;
  EXPECT_EQ(launch(norm), cuda::Status::Code::usage);
  norm = buffers.norm();
  norm.output = NormOutput::f8_by_row;
  EXPECT_EQ(launch(norm), cuda::Status::Code::usage);
}

// --- behind collectives
// ---------------------------------------------------------------------------

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

class GpuFused : public GpuNorm {
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
