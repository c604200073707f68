#include "model/matmul.hpp"

#include <cmath>
#include <optional>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include <cohort/error.hpp>

#include "model/element.hpp"
#include "model/parallel.hpp"

namespace cohort {
namespace {

std::vector<float> random_values(std::size_t count, std::uint32_t seed) {
  std::mt19937 generator(seed);
  std::uniform_real_distribution<float> distribution(-1, 1);
  std::vector<float> values(count);
  for (float& value : values) value = distribution(generator);
  return values;
}

struct Shape {
  std::size_t rows = 0;
  std::size_t outputs = 0;
  std::size_t inputs = 0;
};

/// The product in f64 of what the operands are in T.
template <typename T>
double exact(const std::vector<T>& x, const std::vector<float>& weights, const Shape& shape,
             std::size_t index) {
  const std::size_t row = index / shape.outputs;
  const std::size_t output = index % shape.outputs;
  double sum = 0;
  for (std::size_t i = 0; i < shape.inputs; ++i) {
    const float weight = to_f32(from_f32<T>(weights[output * shape.inputs + i]));
    sum += static_cast<double>(to_f32(x[row * shape.inputs + i])) * static_cast<double>(weight);
  }
  return sum;
}

template <typename T>
void expect_products(Matmul& matmul, const Shape& shape) {
  const auto weights = random_values(shape.outputs * shape.inputs, 1);
  std::vector<T> x;
  for (const float value : random_values(shape.rows * shape.inputs, 2)) {
    x.push_back(from_f32<T>(value));
  }
  const LinearWeights packed = matmul.pack(weights, shape.outputs, shape.inputs);
  std::vector<T> y(shape.rows * shape.outputs);
  matmul.multiply(packed, x.data(), shape.rows, y.data());
  std::vector<float> wide(y.size());
  matmul.multiply_to_f32(packed, x.data(), shape.rows, wide.data());
  const double sum_error = 1e-6 * static_cast<double>(shape.inputs);
  const double rounding = sizeof(T) == 2 ? 0x1p-8 : 0;
  for (std::size_t i = 0; i < y.size(); ++i) {
    const double wanted = exact(x, weights, shape, i);
    ASSERT_NEAR(static_cast<double>(wide[i]), wanted, sum_error) << i;
    ASSERT_NEAR(static_cast<double>(to_f32(y[i])), wanted, sum_error + rounding * std::abs(wanted))
        << i;
  }
}

const std::vector<Shape> kShapes = {{1, 1, 1},    {1, 64, 64},   {2, 48, 13},   {3, 7, 576},
                                    {8, 960, 64}, {17, 33, 129}, {64, 192, 72}, {100, 20, 40}};

TEST(Matmul, MultipliesF32) {
  set_compute_threads(1);
  Matmul matmul(DType::f32);
  for (const Shape& shape : kShapes) expect_products<float>(matmul, shape);
}

TEST(Matmul, MultipliesBf16OrSaysThatTheCpuCannot) {
  set_compute_threads(1);
  std::optional<Matmul> matmul;
  try {
    matmul.emplace(DType::bf16);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::unsupported);
    GTEST_SKIP() << error.what();
  }
  for (const Shape& shape : kShapes) expect_products<Bf16>(*matmul, shape);
}

TEST(Matmul, OneRowCountAfterAnother) {
  set_compute_threads(1);
  Matmul matmul(DType::f32);
  const auto weights = random_values(24 * 40, 3);
  const LinearWeights packed = matmul.pack(weights, 24, 40);
  const auto x = random_values(30 * 40, 4);
  std::vector<float> all(30 * 24);
  matmul.multiply(packed, x.data(), 30, all.data());
  for (const std::size_t rows : {1U, 29U, 2U, 30U, 1U, 7U}) {
    std::vector<float> y(rows * 24);
    matmul.multiply(packed, x.data(), rows, y.data());
    for (std::size_t i = 0; i < y.size(); ++i) EXPECT_NEAR(y[i], all[i], 1e-5F);
  }
}

TEST(Matmul, NoRowsTouchNothing) {
  Matmul matmul(DType::f32);
  const LinearWeights packed = matmul.pack(random_values(12, 5), 3, 4);
  matmul.multiply(packed, nullptr, 0, nullptr);
}

TEST(Matmul, RefusesWeightsOfAnotherSize) {
  Matmul matmul(DType::f32);
  const auto weights = random_values(12, 6);
  EXPECT_THROW(matmul.pack(weights, 3, 5), Error);
}

}  // namespace
}  // namespace cohort
