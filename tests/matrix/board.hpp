#pragma once

// Memory that the runner of a case shares with its ranks: how they meet, and what became of them.
// It is the control plane that an engine would already have, and not cohort's.

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include <cohort/bootstrap.hpp>
#include <cohort/error.hpp>

namespace cohort::matrix {

inline constexpr std::uint32_t kRankCountMax = 8;
/// The one that meets the fault, and the one after it.
inline constexpr std::size_t kWorldCount = 2;

inline std::int64_t now_ns() noexcept {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

/// How a rank left one world. Written by its rank; `state` last.
struct WorldEnd {
  enum State : std::uint32_t { none, well, error, other_exception };
  std::atomic<std::uint32_t> state{none};
  ErrorCode code = ErrorCode::usage;
  std::uint32_t about = kRankCountMax;  ///< rank that the error names; kRankCountMax is none
  std::int64_t at_ns = 0;
  std::array<char, 32> phase{};
  std::array<char, 1200> text{};
  std::array<char, 400> left_behind{};  ///< by the world in this rank's process
};

struct RankCell {
  /// 1 once its process has ended. Written by the runner.
  std::atomic<std::uint32_t> ended{0};
  /// When the fault happened on this rank; 0 if it has not. Written by the rank.
  std::atomic<std::int64_t> fired_ns{0};
  /// Bytes of its contribution plus 1.
  std::array<std::atomic<std::uint32_t>, kWorldCount> gathered{};
  std::array<std::array<std::byte, 2048>, kWorldCount> contribution{};
  std::array<WorldEnd, kWorldCount> worlds{};
};

struct Board {
  std::array<RankCell, kRankCountMax> ranks{};
};

template <std::size_t N>
void copy_text(std::array<char, N>& target, std::string_view text) noexcept {
  const std::size_t bytes = std::min(text.size(), N - 1);
  std::memcpy(target.data(), text.data(), bytes);
  target[bytes] = 0;
}

/// A bootstrap of `members` (ranks of the board, in order) over the board, for world number
/// `world`.
std::unique_ptr<Bootstrap> meet_over(Board& board, std::size_t world,
                                     std::vector<std::uint32_t> members, std::uint32_t rank);

}  // namespace cohort::matrix
