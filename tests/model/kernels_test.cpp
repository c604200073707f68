#include "model/kernels.hpp"

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace cohort {
namespace {

template <typename T>
std::vector<T> random_values(std::size_t count, float size = 2) {
  static std::mt19937 generator(7);
  std::uniform_real_distribution<float> distribution(-size, size);
  std::vector<T> values(count);
  for (T& value : values) value = from_f32<T>(distribution(generator));
  return values;
}

template <typename T>
float tolerance_for(double wanted) {
  return static_cast<float>(std::abs(wanted)) * (sizeof(T) == 2 ? 0x1p-8F : 3e-6F) + 1e-7F;
}

template <typename T>
class Kernels : public testing::Test {};
using Elements = testing::Types<float, Bf16>;
TYPED_TEST_SUITE(Kernels, Elements);

TYPED_TEST(Kernels, RmsNormDividesByTheRootOfTheMeanSquare) {
  for (const std::size_t width : {1U, 5U, 16U, 33U, 576U}) {
    const auto x = random_values<TypeParam>(3 * width);
    const auto weight = random_values<float>(width);
    std::vector<TypeParam> y(x.size());
    rms_norm(x.data(), 3, weight, 1e-5F, y.data());
    for (std::size_t row = 0; row < 3; ++row) {
      double squares = 0;
      for (std::size_t i = 0; i < width; ++i) {
        squares += std::pow(static_cast<double>(to_f32(x[row * width + i])), 2);
      }
      const double factor = 1 / std::sqrt(squares / static_cast<double>(width) + 1e-5);
      for (std::size_t i = 0; i < width; ++i) {
        const double wanted = static_cast<double>(to_f32(x[row * width + i])) * factor *
                              static_cast<double>(weight[i]);
        EXPECT_NEAR(to_f32(y[row * width + i]), static_cast<float>(wanted),
                    tolerance_for<TypeParam>(wanted));
      }
    }
  }
}

TYPED_TEST(Kernels, RmsNormWorksInPlace) {
  auto x = random_values<TypeParam>(40);
  const auto weight = random_values<float>(20);
  std::vector<TypeParam> y(x.size());
  rms_norm(x.data(), 2, weight, 1e-5F, y.data());
  rms_norm(x.data(), 2, weight, 1e-5F, x.data());
  for (std::size_t i = 0; i < x.size(); ++i) EXPECT_EQ(to_f32(x[i]), to_f32(y[i]));
}

TYPED_TEST(Kernels, AddRoundsOnce) {
  for (const std::size_t count : {0U, 1U, 15U, 16U, 100U}) {
    auto sum = random_values<TypeParam>(count);
    const auto before = sum;
    const auto x = random_values<TypeParam>(count);
    add_to(sum.data(), x.data(), count);
    for (std::size_t i = 0; i < count; ++i) {
      const float wanted = to_f32(from_f32<TypeParam>(to_f32(before[i]) + to_f32(x[i])));
      EXPECT_EQ(to_f32(sum[i]), wanted);
    }
  }
}

TEST(KernelRounding, Bf16HasOneNanAndGoesToInfinity) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  std::vector<Bf16> sum(40, from_f32<Bf16>(3e38F));
  std::vector<Bf16> x(40, from_f32<Bf16>(3e38F));
  x[7] = from_f32<Bf16>(-kInfinity);
  sum[11] = from_f32<Bf16>(std::numeric_limits<float>::quiet_NaN());
  add_to(sum.data(), x.data(), sum.size());
  EXPECT_EQ(to_f32(sum[0]), kInfinity);
  EXPECT_EQ(to_f32(sum[7]), -kInfinity);
  EXPECT_EQ(sum[11].bits, kCanonicalNanBf16);
}

TYPED_TEST(Kernels, SiluMultipliesTheGateIn) {
  const std::size_t width = 37;
  auto rows = random_values<TypeParam>(2 * 2 * width, 12);
  rows[0] = from_f32<TypeParam>(-200);
  rows[1] = from_f32<TypeParam>(200);
  rows[2] = from_f32<TypeParam>(0);
  std::vector<TypeParam> y(2 * width);
  silu_multiply(rows.data(), 2, width, y.data());
  for (std::size_t row = 0; row < 2; ++row) {
    for (std::size_t i = 0; i < width; ++i) {
      const auto gate = static_cast<double>(to_f32(rows[row * 2 * width + i]));
      const auto up = static_cast<double>(to_f32(rows[row * 2 * width + width + i]));
      const double wanted = gate / (1 + std::exp(-gate)) * up;
      EXPECT_NEAR(to_f32(y[row * width + i]), static_cast<float>(wanted),
                  tolerance_for<TypeParam>(wanted));
    }
  }
}

}  // namespace
}  // namespace cohort
