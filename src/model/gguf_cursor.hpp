#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include <cohort/error.hpp>

namespace cohort {

/// `text` in quotes, fit for one line of a message: odd bytes as \xNN, the tail of long ones cut.
std::string quoted(std::string_view text);

/// Reads little-endian fields of a file one after the other, never past its end.
class GgufCursor {
 public:
  GgufCursor(std::span<const std::byte> bytes, std::string file);

  std::size_t position_bytes() const noexcept { return position_bytes_; }
  std::size_t remaining_bytes() const noexcept { return bytes_.size() - position_bytes_; }

  /// The next value. Local. Throws: Error{corrupt} naming `field` if the file ends before it.
  template <typename T>
  T read(std::string_view field) {
    static_assert(std::is_arithmetic_v<T>);
    T value;
    std::memcpy(&value, take(sizeof(T), field).data(), sizeof(T));
    return value;
  }

  /// The next string: its length, then its bytes. Local. Throws: as `read`.
  std::string_view read_string(std::string_view field);

  /// The next `count` bytes as they stand. Local. Throws: as `read`.
  std::span<const std::byte> take(std::uint64_t count, std::string_view field);

  /// Throws Error{code} whose message names the file, then says `problem`.
  [[noreturn]] void refuse(ErrorCode code, const std::string& problem) const;

 private:
  std::span<const std::byte> bytes_;
  std::string file_;
  std::size_t position_bytes_ = 0;
};

}  // namespace cohort
