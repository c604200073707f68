#pragma once

// Messages between ranks, and between ranks and the launcher: little fixed-width integers and
// length-prefixed strings. A reader never trusts a length: reading past the end is Error{corrupt}.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <cohort/error.hpp>

namespace cohort::wire {

class Writer {
 public:
  template <typename Integer>
  requires std::is_integral_v<Integer>
  void put(Integer value) {
    const auto* first = reinterpret_cast<const std::byte*>(&value);
    bytes_.insert(bytes_.end(), first, first + sizeof value);
  }
  void put_bytes(std::span<const std::byte> bytes) {
    put(static_cast<std::uint64_t>(bytes.size()));
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  }
  void put_text(std::string_view text) { put_bytes(std::as_bytes(std::span(text))); }

  std::span<const std::byte> bytes() const noexcept { return bytes_; }
  std::vector<std::byte> take() noexcept { return std::move(bytes_); }

 private:
  std::vector<std::byte> bytes_;
};

class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : rest_(bytes) {}

  template <typename Integer>
  requires std::is_integral_v<Integer> Integer get() {
    Integer value{};
    std::memcpy(&value, next(sizeof value).data(), sizeof value);
    return value;
  }
  std::span<const std::byte> get_bytes() {
    const auto count = get<std::uint64_t>();
    if (count > rest_.size()) fail();
    return next(static_cast<std::size_t>(count));
  }
  std::string get_text() {
    const std::span<const std::byte> bytes = get_bytes();
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  bool at_end() const noexcept { return rest_.empty(); }

 private:
  std::span<const std::byte> next(std::size_t count) {
    if (count > rest_.size()) fail();
    const std::span<const std::byte> taken = rest_.first(count);
    rest_ = rest_.subspan(count);
    return taken;
  }
  [[noreturn]] static void fail() {
    throw Error(ErrorCode::corrupt, "a message of another rank is shorter than it says",
                std::nullopt, "join");
  }

  std::span<const std::byte> rest_;
};

}  // namespace cohort::wire
