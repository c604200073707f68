#include "base/hash.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace cohort {

std::uint64_t hash_bytes(std::span<const std::byte> bytes, std::uint64_t seed) noexcept {
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed);
}

Hasher& Hasher::add(std::string_view text) noexcept {
  return add(std::as_bytes(std::span(text)));
}

Hasher& Hasher::add(std::span<const std::byte> bytes) noexcept {
  add_word(bytes.size());
  state_ = hash_bytes(bytes, state_);
  return *this;
}

Hasher& Hasher::add_word(std::uint64_t value) noexcept {
  state_ = hash_bytes(std::as_bytes(std::span(&value, 1)), state_);
  return *this;
}

}  // namespace cohort
