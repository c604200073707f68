#include "base/bytes.hpp"

#include <array>
#include <charconv>
#include <cstddef>
#include <utility>

namespace cohort {

std::string format_bytes(std::uint64_t bytes) {
  static constexpr std::array kUnits{" KiB", " MiB", " GiB", " TiB", " PiB", " EiB"};
  if (bytes < 1024) return std::to_string(bytes) + " B";
  std::size_t unit = 0;
  // Whole number of tenths, rounded half up; 1024 x 10 of them become 1.0 of the next unit.
  const auto tenths = [bytes](std::size_t index) {
    const unsigned shift = 10 * static_cast<unsigned>(index + 1);
    const std::uint64_t whole = bytes >> shift;
    const std::uint64_t rest = bytes & ((std::uint64_t{1} << shift) - 1);
    // `rest` keeps 10 bits: enough for a tenth, and the product cannot overflow.
    return whole * 10 + ((rest >> (shift - 10)) * 10 + 512) / 1024;
  };
  while (unit + 1 < kUnits.size() && tenths(unit) >= 10240) ++unit;
  const std::uint64_t value = tenths(unit);
  return std::to_string(value / 10) + "." + std::to_string(value % 10) + kUnits.at(unit);
}

std::optional<std::uint64_t> parse_bytes(std::string_view text) noexcept {
  static constexpr std::array<std::pair<std::string_view, unsigned>, 5> kSuffixes{
      {{"", 0}, {"B", 0}, {"KiB", 10}, {"MiB", 20}, {"GiB", 30}}};
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{}) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  if (text.size() > 1 && text.starts_with(' ')) text.remove_prefix(1);
  for (const auto& [suffix, shift] : kSuffixes) {
    if (text != suffix) continue;
    if (number > ~std::uint64_t{0} >> shift) return std::nullopt;
    return number << shift;
  }
  return std::nullopt;
}

}  // namespace cohort
