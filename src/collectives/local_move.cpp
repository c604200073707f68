#include "collectives/local_move.hpp"

#include <cstring>
#include <string>

#include <cohort/error.hpp>

namespace cohort::collectives {

void check_moves(std::span<const LocalMove> moves) {
  const auto refuse = [](std::size_t index, const std::string& why) {
    throw Error(ErrorCode::usage, "local move " + std::to_string(index) + " " + why, std::nullopt,
                "move");
  };
  for (std::size_t i = 0; i < moves.size(); ++i) {
    const LocalMove& move = moves[i];
    if (move.rows == 0 || move.row_bytes == 0) continue;
    if (move.to == nullptr) refuse(i, "has bytes but no place for them");
    if (move.rows > 1 && move.to_stride_bytes < move.row_bytes) {
      refuse(i, "has rows of " + std::to_string(move.row_bytes) + " bytes that are to lie " +
                    std::to_string(move.to_stride_bytes) + " bytes apart");
    }
  }
}

void move_on_host(std::span<const LocalMove> moves) noexcept {
  for (const LocalMove& move : moves) {
    auto* to = static_cast<std::byte*>(move.to);
    const auto* from = static_cast<const std::byte*>(move.from);
    for (std::size_t row = 0; row < move.rows && move.row_bytes != 0; ++row) {
      if (from == nullptr) {
        std::memset(to + row * move.to_stride_bytes, 0, move.row_bytes);
      } else {
        std::memcpy(to + row * move.to_stride_bytes, from + row * move.from_stride_bytes,
                    move.row_bytes);
      }
    }
  }
}

}  // namespace cohort::collectives
