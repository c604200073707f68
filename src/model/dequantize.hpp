#pragma once

#include <cstdint>
#include <span>

#include "model/gguf.hpp"

namespace cohort {

/// A rectangle of a tensor, seen as a matrix: what one rank of a tensor-parallel group holds.
struct TensorPart {
  std::uint64_t row_begin = 0;
  std::uint64_t row_count = 0;
  std::uint64_t column_begin = 0;
  std::uint64_t column_count = 0;
};

/// The value of IEEE 754 half-precision bits, exactly. Local.
float f32_from_f16(std::uint16_t bits) noexcept;

/// Writes rows [row_begin, row_begin + row_count) of `tensor` to `out` as f32,
/// (row_count, tensor.column_count()). Local.
/// Throws: Error{usage} if the rows are not all in the tensor or `out` has another size.
void dequantize_rows(const GgufTensor& tensor, std::uint64_t row_begin, std::uint64_t row_count,
                     std::span<float> out);

/// Writes a rectangle of `tensor` to `out` as f32, (part.row_count, part.column_count). Columns
/// may begin and end inside a block of the type; values are those of the whole row. Local.
/// Throws: Error{usage} if the part is not all in the tensor or `out` has another size.
void dequantize_part(const GgufTensor& tensor, const TensorPart& part, std::span<float> out);

}  // namespace cohort
