#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <type_traits>

namespace cohort {

/// XXH3 of some bytes: equal on every machine and in every version. Not for hostile input. Local.
std::uint64_t hash_bytes(std::span<const std::byte> bytes, std::uint64_t seed = 0) noexcept;

/// A digest of a sequence of values, for comparing what ranks say. Each value is mixed in whole, so
/// ("ab", "c") and ("a", "bc") differ. Value type; allocates nothing.
class Hasher {
 public:
  explicit Hasher(std::uint64_t seed = 0) noexcept : state_(seed) {}

  Hasher& add(std::string_view text) noexcept;
  Hasher& add(std::span<const std::byte> bytes) noexcept;

  /// Integers, booleans and enumerators, widened to 64 bits.
  template <typename T>
  requires(std::is_integral_v<T> || std::is_enum_v<T>) Hasher& add(T value) noexcept {
    return add_word(static_cast<std::uint64_t>(value));
  }

  std::uint64_t digest() const noexcept { return state_; }

 private:
  Hasher& add_word(std::uint64_t value) noexcept;

  std::uint64_t state_;
};

}  // namespace cohort
