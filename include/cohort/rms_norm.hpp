#pragma once

#include <cohort/tensor.hpp>

namespace cohort {

/// The norm of rows x behind their residual r, as decoder layers have it: s = x + r, rounded to the
/// type, and s / sqrt(mean(s * s) + epsilon) * weight, rounded once.
///
/// Sums of squares run in f32 in an order that depends on the length of a row alone, so results
/// have the same bits for every number of rows, on every rank, and on CUDA whether or not the norm
/// rides with a collective. Rows have as many elements as `weight`: at most 16384, and on CUDA a
/// multiple of 8 in bf16 or f16, all operands aligned to 16 bytes. bf16, f16; on the host f32 too.
struct RmsNorm {
  Tensor residual;     ///< r; holds s afterwards
  ConstTensor weight;  ///< one row
  Tensor normed;       ///< receives the result; overlaps no other operand, the input neither
  float epsilon = 1e-6F;
};

}  // namespace cohort
