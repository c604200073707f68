#pragma once

// Structs that cross the C interface: each begins with `size`, set by the caller to its own sizeof.

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <string>
#include <type_traits>

#include <cohort/error.hpp>

#include "capi/status.hpp"

namespace cohort::capi {

// Past any struct of any version: a size that was never set.
inline constexpr std::size_t kStructBytesMax = 4096;

/// What the caller says its struct holds. Throws: Error{usage} for a null pointer or no size.
inline std::size_t size_given(const void* given, const char* name) {
  require(given, name);
  std::size_t size = 0;
  std::memcpy(&size, given, sizeof size);
  if (size < sizeof size || size > kStructBytesMax) {
    throw Error(ErrorCode::usage, std::string(name) + ".size is " + std::to_string(size) +
                                      "; set it to sizeof the struct");
  }
  return size;
}

/// The caller's struct as this version knows it; what the caller's version lacks is 0.
/// Throws: Error{usage} if the caller sets what this version does not know.
template <typename Struct>
Struct read_struct(const Struct* given, const char* name) {
  static_assert(std::is_trivially_copyable_v<Struct> && offsetof(Struct, size) == 0);
  const std::size_t size = size_given(given, name);
  const auto* bytes = reinterpret_cast<const unsigned char*>(given);
  for (std::size_t i = sizeof(Struct); i < size; ++i) {
    if (bytes[i] == 0) continue;
    throw Error(ErrorCode::usage, std::string(name) + ".size is " + std::to_string(size) + ", " +
                                      std::to_string(sizeof(Struct)) +
                                      " here, and what lies beyond is not 0: the program was "
                                      "built for a later version of the library");
  }
  Struct known{};
  std::memcpy(&known, given, std::min(size, sizeof(Struct)));
  if constexpr (requires { known.reserved; }) {
    if (known.reserved != 0) {
      throw Error(ErrorCode::usage, std::string(name) + ".reserved is not 0");
    }
  }
  return known;
}

/// The same, but all 0 for a null pointer.
template <typename Struct>
Struct read_optional_struct(const Struct* given, const char* name) {
  return given == nullptr ? Struct{} : read_struct(given, name);
}

/// Fills the caller's struct as far as the caller knows it; what only the caller knows becomes 0.
template <typename Struct>
void write_struct(const Struct& value, Struct* target, const char* name) {
  static_assert(std::is_trivially_copyable_v<Struct> && offsetof(Struct, size) == 0);
  const std::size_t size = size_given(target, name);
  auto* bytes = reinterpret_cast<unsigned char*>(target);
  const auto* from = reinterpret_cast<const unsigned char*>(&value);
  const std::size_t known = std::min(size, sizeof(Struct));
  if (known > sizeof size) {
    std::memcpy(bytes + sizeof size, from + sizeof size, known - sizeof size);
  }
  std::fill(bytes + known, bytes + size, static_cast<unsigned char>(0));
}

}  // namespace cohort::capi
