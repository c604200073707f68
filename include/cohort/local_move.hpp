#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include <cohort/export.hpp>
#include <cohort/tensor.hpp>

namespace cohort {

/// Bytes to copy or to zero within one rank's memory: `rows` pieces of `row_bytes`, each a stride
/// behind the one before.
struct LocalMove {
  void* to = nullptr;
  const void* from = nullptr;  ///< null: the bytes become zero
  std::size_t rows = 1;
  std::size_t row_bytes = 0;
  std::size_t to_stride_bytes = 0;  ///< unused for one row
  std::size_t from_stride_bytes = 0;
  friend bool operator==(const LocalMove&, const LocalMove&) = default;
};

/// Rows [from, from + count) of one operand go to rows [to, to + count) of another.
struct RowCopy {
  std::size_t to = 0;
  std::optional<std::size_t> from;  ///< nothing: the rows become zero
  std::size_t count = 0;
  friend bool operator==(const RowCopy&, const RowCopy&) = default;
};

/// Copies of whole rows, `row_elements` wide, as moves of bytes; neighbours become one move. For
/// `Session::move`. Local, pure.
/// Throws: Error{usage} for rows past the end of either operand, and for operands of two types.
COHORT_EXPORT std::vector<LocalMove> row_moves(Tensor to, ConstTensor from,
                                               std::size_t row_elements,
                                               std::span<const RowCopy> copies);

}  // namespace cohort
