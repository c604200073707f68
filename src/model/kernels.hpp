#pragma once

#include <cstddef>
#include <span>

#include "model/element.hpp"

namespace cohort {

/// y = x / rms(x) * weight for each of `row_count` rows as wide as `weight`; T is float or Bf16.
/// In place if x is y. Local.
template <typename T>
void rms_norm(const T* x, std::size_t row_count, std::span<const float> weight, float epsilon,
              T* y);

/// sum += x over `count` elements, rounded once. Local.
template <typename T>
void add_to(T* sum, const T* x, std::size_t count);

/// y = silu(gate) * up for rows [gate | up] of 2 x `width`; y is (row_count, width). Local.
template <typename T>
void silu_multiply(const T* gate_up, std::size_t row_count, std::size_t width, T* y);

}  // namespace cohort
