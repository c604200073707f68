#include <string>

#include <cohort/error.hpp>
#include <cohort/local_move.hpp>

namespace cohort {

namespace {

[[noreturn]] void refuse(const std::string& why) {
  throw Error(ErrorCode::usage, why, std::nullopt, "row_moves");
}

void check_rows(std::size_t first, std::size_t count, std::size_t rows, const char* which) {
  if (first <= rows && count <= rows - first) return;
  refuse("rows " + std::to_string(first) + " to " + std::to_string(first + count) + " of " + which +
         " with " + std::to_string(rows));
}

/// Whether `next` goes on where `move` ends, at both ends.
bool continues(const LocalMove& move, const LocalMove& next) {
  const auto end_of = [&](const void* begin) {
    return static_cast<const std::byte*>(begin) + move.row_bytes;
  };
  if (end_of(move.to) != next.to) return false;
  if (move.from == nullptr || next.from == nullptr) return move.from == next.from;
  return end_of(move.from) == next.from;
}

}  // namespace

std::vector<LocalMove> row_moves(Tensor to, ConstTensor from, std::size_t row_elements,
                                 std::span<const RowCopy> copies) {
  if (to.dtype != from.dtype) refuse("operands of two types");
  if (row_elements == 0) refuse("rows of no elements");
  const std::size_t row_bytes = row_elements * bytes_of(to.dtype);
  std::vector<LocalMove> moves;
  moves.reserve(copies.size());
  for (const RowCopy& copy : copies) {
    check_rows(copy.to, copy.count, to.elements / row_elements, "a result");
    if (copy.from) {
      check_rows(*copy.from, copy.count, from.elements / row_elements, "an operand");
    }
    if (copy.count == 0) continue;
    LocalMove move;
    move.to = static_cast<std::byte*>(to.data) + copy.to * row_bytes;
    if (copy.from) move.from = static_cast<const std::byte*>(from.data) + *copy.from * row_bytes;
    move.row_bytes = copy.count * row_bytes;
    if (!moves.empty() && continues(moves.back(), move)) {
      moves.back().row_bytes += move.row_bytes;
    } else {
      moves.push_back(move);
    }
  }
  return moves;
}

}  // namespace cohort
