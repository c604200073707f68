#pragma once

#include <string>
#include <string_view>

namespace cohort {

/// What a file says, for a message: as UTF-8, control characters spelt as `\x1b`, and "..." in the
/// place of what goes beyond `kPrintableBytesMax`. Local.
std::string printable(std::string_view text);

inline constexpr std::size_t kPrintableBytesMax = 240;

}  // namespace cohort
