#pragma once

// Reads what the kernel says as text under /proc and /sys. Pure.

#include <compare>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace cohort::check {

struct KernelVersion {
  std::uint32_t major = 0;
  std::uint32_t minor = 0;
  friend auto operator<=>(const KernelVersion&, const KernelVersion&) = default;
};

/// Of a release such as "6.1.0-37-amd64". Nothing if it does not begin with two numbers.
std::optional<KernelVersion> parse_kernel_version(std::string_view release) noexcept;

/// The one number that a file holds, such as "1\n". Nothing for any other text.
std::optional<std::uint64_t> parse_number(std::string_view text) noexcept;

/// The number after `key` at the beginning of a line, as in "MemAvailable:  123 kB" or
/// "Seccomp:\t2". Nothing if no line begins with the key and a number.
std::optional<std::uint64_t> number_after(std::string_view text, std::string_view key) noexcept;

/// The bracketed one of several choices, as in "always within_size advise [never]"; empty if none.
std::string_view selected_choice(std::string_view text) noexcept;

/// Whether the first CPU of /proc/cpuinfo has a flag. Nothing where it lists no flags.
std::optional<bool> cpu_has_flag(std::string_view cpuinfo, std::string_view flag) noexcept;

/// How many cores the CPUs have together, from each one's list of siblings ("0,8" or "0-1").
/// 0 if any of the lists is empty.
std::uint32_t count_cores(std::span<const std::string> sibling_lists);

}  // namespace cohort::check
