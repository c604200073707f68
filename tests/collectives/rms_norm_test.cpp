#include "collectives/rms_norm.hpp"

#include <cmath>
#include <random>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/bf16.hpp"
#include "base/f16.hpp"

namespace cohort::collectives {
namespace {

using testing::HasSubstr;
using Bits = std::vector<std::uint16_t>;

constexpr float kEpsilon = 1e-5F;

float wide(std::uint16_t bits, DType dtype) {
  return dtype == DType::bf16 ? f32_from_bf16(bits) : f32_from_f16(bits);
}
std::uint16_t narrow(float value, DType dtype) {
  return dtype == DType::bf16 ? bf16_from_f32(value) : f16_from_f32(value);
}

class Rows {
 public:
  Rows(std::size_t count, std::size_t hidden, DType dtype)
      : dtype_(dtype),
        input(count * hidden),
        residual(count * hidden),
        normed(count * hidden, 0xFFFF),
        weight(hidden) {
    std::mt19937 random(static_cast<std::uint32_t>(count * 31 + hidden));
    std::normal_distribution<float> normal;
    for (Bits* some : {&input, &residual, &weight}) {
      for (std::uint16_t& element : *some) element = narrow(normal(random), dtype);
    }
  }
  RmsNorm norm() {
    return {{residual.data(), residual.size(), dtype_},
            {weight.data(), weight.size(), dtype_},
            {normed.data(), normed.size(), dtype_},
            kEpsilon};
  }

 private:
  DType dtype_;

 public:
  Bits input;
  Bits residual;
  Bits normed;
  Bits weight;
};

TEST(RmsNorm, AgreesWithFloat64) {
  for (const DType dtype : {DType::bf16, DType::f16}) {
    for (const std::size_t hidden : {1U, 5U, 8U, 576U, 4104U, 7168U, 16384U}) {
      SCOPED_TRACE(std::string(to_string(dtype)) + ", rows of " + std::to_string(hidden));
      constexpr std::size_t kRows = 3;
      Rows rows(kRows, hidden, dtype);
      const Bits before = rows.residual;
      const RmsNorm norm = rows.norm();
      ASSERT_EQ(find_fault(norm, rows.input.size(), dtype), std::nullopt);
      norm_on_host(norm, rows.input.data());
      const double step = dtype == DType::bf16 ? 0x1p-8 : 0x1p-11;
      for (std::size_t row = 0; row < kRows; ++row) {
        double squares = 0;
        for (std::size_t i = row * hidden; i < (row + 1) * hidden; ++i) {
          ASSERT_EQ(rows.residual[i],
                    narrow(wide(rows.input[i], dtype) + wide(before[i], dtype), dtype));
          squares += std::pow(static_cast<double>(wide(rows.residual[i], dtype)), 2);
        }
        const double scale =
            1 / std::sqrt(squares / static_cast<double>(hidden) + double{kEpsilon});
        for (std::size_t column = 0; column < hidden; ++column) {
          const std::size_t i = row * hidden + column;
          const double wanted = double{wide(rows.residual[i], dtype)} * scale *
                                double{wide(rows.weight[column], dtype)};
          ASSERT_NEAR(wide(rows.normed[i], dtype), wanted,
                      std::fabs(wanted) * step * 1.001 + 0x1p-24);
        }
      }
    }
  }
}

TEST(RmsNorm, OfARowDoesNotDependOnTheOthers) {
  constexpr std::size_t kHidden = 1024;
  Rows all(6, kHidden, DType::bf16);
  Rows one(1, kHidden, DType::bf16);
  one.weight = all.weight;
  for (std::size_t row = 0; row < 6; ++row) {
    const auto part = [&](const Bits& from) {
      const auto begin = from.begin() + static_cast<std::ptrdiff_t>(row * kHidden);
      return Bits(begin, begin + kHidden);
    };
    one.input = part(all.input);
    one.residual = part(all.residual);
    norm_on_host(one.norm(), one.input.data());
    Rows copy = all;
    norm_on_host(copy.norm(), copy.input.data());
    ASSERT_EQ(one.normed, part(copy.normed));
  }
}

TEST(RmsNorm, SaysWhatIsWrong) {
  Rows rows(2, 8, DType::bf16);
  const auto fault = [&](const RmsNorm& norm, std::size_t elements = 16,
                         DType dtype = DType::bf16) {
    return find_fault(norm, elements, dtype).value_or("nothing");
  };
  EXPECT_EQ(fault(rows.norm()), "nothing");
  RmsNorm norm = rows.norm();
  norm.weight.elements = 0;
  EXPECT_THAT(fault(norm), HasSubstr("rows of 0 elements"));
  norm.weight.elements = 16385;
  EXPECT_THAT(fault(norm), HasSubstr("from 1 to 16384"));
  EXPECT_THAT(fault(rows.norm(), 12), HasSubstr("no whole rows of 8"));
  EXPECT_THAT(fault(rows.norm(), 8), HasSubstr("16 and 16 elements for 8"));
  EXPECT_THAT(fault(rows.norm(), 16, DType::i32), HasSubstr("type i32"));
  norm = rows.norm();
  norm.residual.dtype = DType::f16;
  EXPECT_THAT(fault(norm), HasSubstr("different types"));
}

}  // namespace
}  // namespace cohort::collectives
