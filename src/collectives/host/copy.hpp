#pragma once

// Copies of operands.

#include <cstddef>
#include <cstring>

namespace cohort::host {

/// Copied or relayed at once. Large copies of the C library stream past the second-level cache,
/// which costs a fifth of the time where the bytes are needed soon; and a chain of ranks works on
/// neighbouring pieces at the same time.
inline constexpr std::size_t kPieceBytes = std::size_t{128} * 1024;

/// memcpy, in pieces.
inline void copy_bytes(std::byte* to, const std::byte* from, std::size_t bytes) noexcept {
  while (bytes > kPieceBytes) {
    std::memcpy(to, from, kPieceBytes);
    to += kPieceBytes;
    from += kPieceBytes;
    bytes -= kPieceBytes;
  }
  std::memcpy(to, from, bytes);
}

}  // namespace cohort::host
