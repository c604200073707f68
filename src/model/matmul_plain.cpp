// Matrix products by a plain loop, for builds with ThreadSanitizer: the thread pool of the fast
// library is not instrumented and would be reported as racing.

#include <string>
#include <utility>
#include <vector>

#include <cohort/error.hpp>

#include "model/element.hpp"
#include "model/matmul.hpp"

namespace cohort {

struct LinearWeights::Packed {
  std::vector<float> values;  // (output_width, input_width), already rounded to the dtype
};

struct Matmul::State {
  template <typename T, typename Result>
  void run(const LinearWeights& weights, const void* x, std::size_t rows, Result* y) const {
    const auto* input = static_cast<const T*>(x);
    const float* values = weights.packed->values.data();
    const std::size_t in = weights.input_width;
    const std::size_t out = weights.output_width;
    for (std::size_t row = 0; row < rows; ++row) {
      for (std::size_t o = 0; o < out; ++o) {
        float sum = 0;
        for (std::size_t i = 0; i < in; ++i) {
          sum += to_f32(input[row * in + i]) * values[o * in + i];
        }
        y[row * out + o] = from_f32<Result>(sum);
      }
    }
  }

  DType dtype = DType::f32;
};

Matmul::Matmul(DType dtype) : state_(std::make_unique<State>()) {
  state_->dtype = dtype;
}
Matmul::Matmul(Matmul&&) noexcept = default;
Matmul& Matmul::operator=(Matmul&&) noexcept = default;
Matmul::~Matmul() = default;

void require_products(DType /*dtype*/) {}

LinearWeights Matmul::pack(std::span<const float> weights, std::size_t output_width,
                           std::size_t input_width) {
  if (weights.size() != output_width * input_width) {
    throw Error(ErrorCode::usage, "weights of " + std::to_string(weights.size()) +
                                      " elements for a layer of " + std::to_string(output_width) +
                                      " x " + std::to_string(input_width));
  }
  auto packed = std::make_unique<LinearWeights::Packed>();
  packed->values.assign(weights.begin(), weights.end());
  if (state_->dtype == DType::bf16) {
    for (float& value : packed->values) value = to_f32(from_f32<Bf16>(value));
  }
  return {std::move(packed), output_width, input_width};
}

void Matmul::multiply(const LinearWeights& weights, const void* x, std::size_t row_count, void* y) {
  if (state_->dtype == DType::bf16) {
    state_->run<Bf16>(weights, x, row_count, static_cast<Bf16*>(y));
  } else {
    state_->run<float>(weights, x, row_count, static_cast<float*>(y));
  }
}

void Matmul::multiply_to_f32(const LinearWeights& weights, const void* x, std::size_t row_count,
                             float* y) {
  if (state_->dtype == DType::bf16) {
    state_->run<Bf16>(weights, x, row_count, y);
  } else {
    state_->run<float>(weights, x, row_count, y);
  }
}

}  // namespace cohort
