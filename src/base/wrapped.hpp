#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace cohort {

/// Columns of what is printed for people.
inline constexpr std::size_t kTextColumns = 80;

/// `text` broken at blanks into lines of at most `columns`; a longer word keeps its line. Pure.
std::vector<std::string> wrapped(std::string_view text, std::size_t columns);

}  // namespace cohort
