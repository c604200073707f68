#pragma once

// The sources of the page, put into the program by cmake/EmbedText.cmake.

#include <span>
#include <string_view>

namespace cohort::page {

extern const std::string_view kHtml;  ///< with the marks @style@, @data@ and @script@
extern const std::string_view kCss;
extern const std::span<const std::string_view> kScripts;  ///< in this order

}  // namespace cohort::page
