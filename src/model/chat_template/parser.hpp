#pragma once

#include <string_view>

#include "model/chat_template/syntax.hpp"

namespace cohort::jinja {

/// Parses a template, valid UTF-8. Local.
/// Throws: Error{unsupported} naming line and column of the first thing that is not of the subset:
/// output, comments, `for`, `if`, `elif`, `else`, `set`; strings, decimal integers, true, false,
/// none; variables, members, items, loop.first, loop.last, loop.index, loop.index0; + == != in `not
/// in` not and or; `is defined`, `is none` and their negations; the filters trim and tojson.
Block parse(std::string_view source);

}  // namespace cohort::jinja
