#include "check/system_text.hpp"

#include <algorithm>
#include <charconv>
#include <set>
#include <vector>

#include "backend/host/memory_node.hpp"

namespace cohort::check {
namespace {

constexpr std::string_view kBlanks = " \t\n";

std::string_view trimmed(std::string_view text) noexcept {
  const std::size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

/// Takes a number off the front of `text`.
std::optional<std::uint64_t> take_number(std::string_view& text) noexcept {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{}) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return value;
}

/// The rest of the first line that begins with `key`.
std::optional<std::string_view> line_after(std::string_view text, std::string_view key) noexcept {
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.starts_with(key)) return line.substr(key.size());
  }
  return std::nullopt;
}

}  // namespace

std::optional<KernelVersion> parse_kernel_version(std::string_view release) noexcept {
  const auto major = take_number(release);
  if (!major || !release.starts_with('.')) return std::nullopt;
  release.remove_prefix(1);
  const auto minor = take_number(release);
  if (!minor || *major > 0xFFFF'FFFF || *minor > 0xFFFF'FFFF) return std::nullopt;
  return KernelVersion{static_cast<std::uint32_t>(*major), static_cast<std::uint32_t>(*minor)};
}

std::optional<std::uint64_t> parse_number(std::string_view text) noexcept {
  text = trimmed(text);
  const auto value = take_number(text);
  return text.empty() ? value : std::nullopt;
}

std::optional<std::uint64_t> number_after(std::string_view text, std::string_view key) noexcept {
  const auto line = line_after(text, key);
  if (!line) return std::nullopt;
  std::string_view rest = trimmed(*line);
  const auto value = take_number(rest);
  // A unit may follow, but no half of a word: "12x" is no number.
  return rest.empty() || rest.starts_with(' ') ? value : std::nullopt;
}

std::string_view selected_choice(std::string_view text) noexcept {
  const std::size_t open = text.find('[');
  const std::size_t close = text.find(']', std::min(open, text.size()));
  if (close == std::string_view::npos) return {};
  return text.substr(open + 1, close - open - 1);
}

std::optional<bool> cpu_has_flag(std::string_view cpuinfo, std::string_view flag) noexcept {
  const auto line = line_after(cpuinfo, "flags");
  const std::size_t colon = line ? line->find(':') : std::string_view::npos;
  if (colon == std::string_view::npos) return std::nullopt;
  std::string_view rest = trimmed(line->substr(colon + 1));
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find(' '), rest.size());
    if (rest.substr(0, end) == flag) return true;
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return false;
}

std::uint32_t count_cores(std::span<const std::string> sibling_lists) {
  std::set<std::vector<std::uint32_t>> cores;
  for (const std::string& list : sibling_lists) {
    const std::vector<std::uint32_t> siblings = host::parse_cpu_list(list);
    if (siblings.empty()) return 0;
    cores.insert(siblings);
  }
  return static_cast<std::uint32_t>(cores.size());
}

}  // namespace cohort::check
