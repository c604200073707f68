#pragma once

#include <algorithm>
#include <cstddef>

namespace cohort::heap {

/// Addresses that every rank sets aside for an arena of `bytes`, on every rank's account, where the
/// plan does not say: room for `recommit` to grow. Before rounding to whole pages.
constexpr std::size_t default_reserve_bytes(std::size_t bytes) noexcept {
  constexpr std::size_t kBytesMin = std::size_t{1} << 30;
  constexpr std::size_t kFactor = 4;
  constexpr std::size_t kAddressesMax = std::size_t{1} << 46;
  if (bytes > kAddressesMax / kFactor) return bytes;
  return std::max(bytes * kFactor, kBytesMin);
}

}  // namespace cohort::heap
