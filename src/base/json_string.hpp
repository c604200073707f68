#pragma once

#include <string>
#include <string_view>

namespace cohort {

/// The text as a JSON string, quotes included. Bytes that are no UTF-8 become U+FFFD, since a
/// message may quote those of a broken file. Local.
std::string json_string(std::string_view text);

}  // namespace cohort
