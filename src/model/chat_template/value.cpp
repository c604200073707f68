#include "model/chat_template/value.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdio>

#include "model/pretokenizer.hpp"
#include "model/utf8.hpp"

namespace cohort::jinja {
namespace {

/// Chooses a function by alternative.
template <class... Functions>
struct Overloaded : Functions... {
  using Functions::operator()...;
};
template <class... Functions>
Overloaded(Functions...) -> Overloaded<Functions...>;

bool is_python_space(char32_t code_point) noexcept {
  return (code_point >= 0x1C && code_point <= 0x1F) ||
         code_point_class(code_point) == CodePointClass::space;
}

void append_json_string(std::string_view value, std::string& text) {
  text += '"';
  for (const char byte : value) {
    switch (byte) {
      case '"': text += "\\\""; break;
      case '\\': text += "\\\\"; break;
      case '\n': text += "\\n"; break;
      case '\r': text += "\\r"; break;
      case '\t': text += "\\t"; break;
      case '\f': text += "\\f"; break;
      case '\b': text += "\\b"; break;
      default:
        if (static_cast<unsigned char>(byte) >= 0x20) {
          text += byte;
        } else {
          std::array<char, 8> escape{};
          std::snprintf(escape.data(), escape.size(), "\\u%04x", static_cast<unsigned>(byte));
          text += escape.data();
        }
    }
  }
  text += '"';
}

bool append_json_list(const List& list, std::string& text) {
  text += '[';
  for (std::size_t i = 0; i < list.size(); ++i) {
    if (i > 0) text += ", ";
    if (!append_json(list[i], text)) return false;
  }
  text += ']';
  return true;
}

bool append_json_mapping(const Mapping& mapping, std::string& text) {
  text += '{';
  for (std::size_t i = 0; i < mapping.size(); ++i) {
    if (i > 0) text += ", ";
    append_json_string(mapping[i].first, text);
    text += ": ";
    if (!append_json(mapping[i].second, text)) return false;
  }
  text += '}';
  return true;
}

}  // namespace

const List* Value::list() const noexcept {
  const auto* found = std::get_if<std::shared_ptr<const List>>(&data);
  return found == nullptr ? nullptr : found->get();
}

const Mapping* Value::mapping() const noexcept {
  const auto* found = std::get_if<std::shared_ptr<const Mapping>>(&data);
  return found == nullptr ? nullptr : found->get();
}

std::string describe(const Value& value) {
  return std::visit(
      Overloaded{[](const Undefined& undefined) { return "undefined ('" + undefined.name + "')"; },
                 [](None) { return std::string("none"); },
                 [](bool) { return std::string("a bool"); },
                 [](std::int64_t) { return std::string("an integer"); },
                 [](const std::string&) { return std::string("a string"); },
                 [](const std::shared_ptr<const List>&) { return std::string("a list"); },
                 [](const std::shared_ptr<const Mapping>&) { return std::string("a mapping"); }},
      value.data);
}

bool is_true(const Value& value) noexcept {
  return std::visit(
      Overloaded{[](const Undefined&) { return false; }, [](None) { return false; },
                 [](bool flag) { return flag; }, [](std::int64_t number) { return number != 0; },
                 [](const std::string& text) { return !text.empty(); },
                 [](const std::shared_ptr<const List>& list) { return !list->empty(); },
                 [](const std::shared_ptr<const Mapping>& mapping) { return !mapping->empty(); }},
      value.data);
}

bool to_integer(const Value& value, std::int64_t& number) noexcept {
  if (const bool* flag = std::get_if<bool>(&value.data)) {
    number = *flag ? 1 : 0;
    return true;
  }
  const auto* integer = std::get_if<std::int64_t>(&value.data);
  if (integer != nullptr) number = *integer;
  return integer != nullptr;
}

bool are_equal(const Value& left, const Value& right) noexcept {
  std::int64_t left_number = 0;
  std::int64_t right_number = 0;
  if (to_integer(left, left_number) && to_integer(right, right_number)) {
    return left_number == right_number;
  }
  if (left.data.index() != right.data.index()) return false;
  if (left.string() != nullptr) return *left.string() == *right.string();
  if (left.list() != nullptr) {
    return std::equal(left.list()->begin(), left.list()->end(), right.list()->begin(),
                      right.list()->end(), are_equal);
  }
  if (left.mapping() != nullptr) {
    // Keys are unique, so equal counts and every left key with an equal value on the right do.
    const Mapping& other = *right.mapping();
    return left.mapping()->size() == other.size() &&
           std::all_of(left.mapping()->begin(), left.mapping()->end(), [&](const auto& entry) {
             return std::any_of(other.begin(), other.end(), [&](const auto& candidate) {
               return candidate.first == entry.first && are_equal(candidate.second, entry.second);
             });
           });
  }
  return true;  // none and none, undefined and undefined
}

bool append_text(const Value& value, std::string& text) {
  return std::visit(Overloaded{[](const Undefined&) { return true; },
                               [&](None) {
                                 text += "None";
                                 return true;
                               },
                               [&](bool flag) {
                                 text += flag ? "True" : "False";
                                 return true;
                               },
                               [&](std::int64_t number) {
                                 text += std::to_string(number);
                                 return true;
                               },
                               [&](const std::string& string) {
                                 text += string;
                                 return true;
                               },
                               [](const auto&) { return false; }},
                    value.data);
}

bool append_json(const Value& value, std::string& text) {
  if (value.is_undefined()) return false;
  if (value.string() != nullptr) {
    append_json_string(*value.string(), text);
    return true;
  }
  if (value.list() != nullptr) return append_json_list(*value.list(), text);
  if (value.mapping() != nullptr) return append_json_mapping(*value.mapping(), text);
  if (value.is_none()) {
    text += "null";
  } else if (const bool* flag = std::get_if<bool>(&value.data)) {
    text += *flag ? "true" : "false";
  } else {
    append_text(value, text);
  }
  return true;
}

std::string_view trimmed_front(std::string_view text) {
  while (!text.empty()) {
    const Utf8Step step = next_utf8(text);
    if (!is_python_space(step.code_point)) break;
    text.remove_prefix(step.byte_count);
  }
  return text;
}

std::string_view trimmed_back(std::string_view text) {
  while (!text.empty()) {
    // The last character begins at the last byte that does not continue one.
    std::size_t begin = text.size() - 1;
    while (begin > 0 && (static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) --begin;
    if (!is_python_space(next_utf8(text.substr(begin)).code_point)) break;
    text.remove_suffix(text.size() - begin);
  }
  return text;
}

std::string_view trimmed(std::string_view text) {
  return trimmed_back(trimmed_front(text));
}

}  // namespace cohort::jinja
