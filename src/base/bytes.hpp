#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace cohort {

/// A byte count for people: "512 B", "1.5 MiB". Powers of 1024, one decimal from 1 KiB on. Local.
std::string format_bytes(std::uint64_t bytes);

/// Reads a byte count as people write it: "4096", "512KiB", "64 MiB", "4GiB"; whole numbers.
/// Nothing for anything else, and for more than 64 bits hold. Local.
std::optional<std::uint64_t> parse_bytes(std::string_view text) noexcept;

}  // namespace cohort
