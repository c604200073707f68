#pragma once

#include <span>

namespace cohort {

/// Code points `first` to `last`, both included.
struct CodePointRange {
  char32_t first = 0;
  char32_t last = 0;
};

/// The classes the pre-tokeniser tells apart, as sorted ranges that do not touch. Local.
std::span<const CodePointRange> letter_ranges() noexcept;
std::span<const CodePointRange> digit_ranges() noexcept;
std::span<const CodePointRange> space_ranges() noexcept;

}  // namespace cohort
