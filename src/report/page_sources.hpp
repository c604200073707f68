#pragma once

// The sources of the page, put into the program by cmake/EmbedText.cmake.

#include <array>
#include <string_view>

namespace cohort::page {

extern const std::string_view kHtml;  ///< with the marks @style@, @data@ and @script@
extern const std::string_view kCss;
inline constexpr std::size_t kScriptCount = 9;
extern const std::array<std::string_view, kScriptCount> kScripts;  ///< in this order

}  // namespace cohort::page
