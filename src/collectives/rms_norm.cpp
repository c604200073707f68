#include "collectives/rms_norm.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include <cohort/error.hpp>

#include "backend/cuda/abi.hpp"
#include "base/bf16.hpp"
#include "base/f16.hpp"
#include "collectives/cuda/norm_shape.hpp"
#include "collectives/host/reduce.hpp"

namespace cohort::collectives {

namespace {

constexpr std::size_t kWarp = 32;

float f32_of(const std::byte* from, DType dtype) noexcept {
  if (dtype == DType::f32) {
    float value = 0;
    std::memcpy(&value, from, sizeof(value));
    return value;
  }
  std::uint16_t bits = 0;
  std::memcpy(&bits, from, sizeof(bits));
  return dtype == DType::bf16 ? f32_from_bf16(bits) : f32_from_f16(bits);
}

void store(std::byte* to, float value, DType dtype) noexcept {
  if (dtype == DType::f32) {
    if (std::isnan(value)) value = std::bit_cast<float>(kCanonicalNanF32);
    std::memcpy(to, &value, sizeof(value));
    return;
  }
  const std::uint16_t bits = dtype == DType::bf16 ? bf16_from_f32(value) : f16_from_f32(value);
  std::memcpy(to, &bits, sizeof(bits));
}

/// As a warp adds up: halves onto each other.
float sum_of_warp(std::array<float, kWarp> values) noexcept {
  for (std::size_t distance = kWarp / 2; distance > 0; distance /= 2) {
    for (std::size_t lane = 0; lane < distance; ++lane) values[lane] += values[lane + distance];
  }
  return values[0];
}

/// As a thread block adds up, its threads' squares given.
float sum_of_block(const std::vector<float>& threads) noexcept {
  std::array<float, kWarp> warps{};
  for (std::size_t warp = 0; warp * kWarp < threads.size(); ++warp) {
    std::array<float, kWarp> lanes{};
    std::copy_n(threads.begin() + static_cast<std::ptrdiff_t>(warp * kWarp), kWarp, lanes.begin());
    warps[warp] = sum_of_warp(lanes);
  }
  return sum_of_warp(warps);
}

/// Nearest to one over the root: beyond what f64 rounds away, two roundings end as one.
float inverse_root(float value) noexcept {
  return static_cast<float>(1.0 / std::sqrt(static_cast<double>(value)));
}

class RowNorm {
 public:
  RowNorm(const RmsNorm& norm, DType dtype)
      : norm_(norm),
        dtype_(dtype),
        hidden_(norm.weight.elements),
        shape_(cuda::norm_shape(static_cast<std::uint32_t>((hidden_ + cuda::kNormLineElements - 1) /
                                                           cuda::kNormLineElements *
                                                           cuda::kNormLineElements))),
        squares_(shape_.threads) {}

  void run(std::byte* residual, std::byte* normed) {
    const std::size_t element = bytes_of(dtype_);
    std::fill(squares_.begin(), squares_.end(), 0.0F);
    // Line after line, a thread meets its own in the order in which it adds them up.
    for (std::size_t i = 0; i < hidden_; ++i) {
      const float value = f32_of(residual + i * element, dtype_);
      float& sum = squares_[i / cuda::kNormLineElements % shape_.threads];
      sum = std::fma(value, value, sum);
    }
    const float mean = sum_of_block(squares_) / static_cast<float>(hidden_);
    const float inverse = inverse_root(mean + norm_.epsilon);
    const auto* weight = static_cast<const std::byte*>(norm_.weight.data);
    for (std::size_t i = 0; i < hidden_; ++i) {
      const float scaled = f32_of(residual + i * element, dtype_) * inverse;
      store(normed + i * element, scaled * f32_of(weight + i * element, dtype_), dtype_);
    }
  }

 private:
  const RmsNorm& norm_;
  DType dtype_;
  std::size_t hidden_;
  cuda::NormShape shape_;
  std::vector<float> squares_;  // by thread of the block that a kernel has
};

}  // namespace

std::optional<std::string> find_fault(const RmsNorm& norm, std::size_t input_elements,
                                      DType dtype) {
  const std::size_t hidden = norm.weight.elements;
  if (hidden == 0 || hidden > cuda::kHiddenMax) {
    return "rows of " + std::to_string(hidden) + " elements cannot be normed; from 1 to " +
           std::to_string(cuda::kHiddenMax) + " can";
  }
  if (dtype != DType::bf16 && dtype != DType::f16 && dtype != DType::f32) {
    return "elements of type " + std::string(to_string(dtype)) + " cannot be normed";
  }
  if (norm.residual.dtype != dtype || norm.weight.dtype != dtype || norm.normed.dtype != dtype) {
    return "the operands of a norm have different types";
  }
  if (input_elements % hidden != 0) {
    return std::to_string(input_elements) + " elements are no whole rows of " +
           std::to_string(hidden);
  }
  if (norm.residual.elements != input_elements || norm.normed.elements != input_elements) {
    return "residual and result of a norm have " + std::to_string(norm.residual.elements) +
           " and " + std::to_string(norm.normed.elements) + " elements for " +
           std::to_string(input_elements);
  }
  return std::nullopt;
}

void require_norm(const RmsNorm& norm, ConstTensor input) {
  const auto fault = find_fault(norm, input.elements, input.dtype);
  if (fault) throw Error(ErrorCode::usage, *fault, std::nullopt, "rms_norm");
}

void norm_on_host(const RmsNorm& norm, const void* input) {
  const host::FloatMode mode;
  const DType dtype = norm.weight.dtype;
  auto* residual = static_cast<std::byte*>(norm.residual.data);
  auto* normed = static_cast<std::byte*>(norm.normed.data);
  const std::array<const std::byte*, 2> addends = {static_cast<const std::byte*>(input), residual};
  host::reduce_in_mode(addends, residual, norm.residual.elements, dtype, ReduceOp::sum);
  const std::size_t row_bytes = norm.weight.elements * bytes_of(dtype);
  RowNorm row(norm, dtype);
  const std::size_t rows = norm.residual.elements / norm.weight.elements;
  for (std::size_t i = 0; i < rows; ++i) {
    row.run(residual + i * row_bytes, normed + i * row_bytes);
  }
}

}  // namespace cohort::collectives
