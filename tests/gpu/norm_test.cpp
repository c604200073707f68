// Norms alone, against float64, and what becomes of them in f8e4m3.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "gpu/norm_fixture.hpp"

namespace cohort::test {
namespace {

using cuda::NormOutput;

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

using GpuNorm = NormTest;

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
        const double scale = 1 / std::sqrt(squares / hidden + double{kNormEpsilon});
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

}  // namespace
}  // namespace cohort::test
