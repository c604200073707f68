// The values that a template computes with, and what it can ask of them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace cohort::jinja {

struct Value;

/// A name or member that does not exist: prints as nothing, is false, and has no members.
struct Undefined {
  std::string name;  // for messages
};
struct None {};
using List = std::vector<Value>;
using Mapping = std::vector<std::pair<std::string, Value>>;  // in order of insertion

/// Immutable; copies of a list or mapping share it.
struct Value {
  std::variant<Undefined, None, bool, std::int64_t, std::string, std::shared_ptr<const List>,
               std::shared_ptr<const Mapping>>
      data;

  bool is_undefined() const noexcept { return std::holds_alternative<Undefined>(data); }
  bool is_none() const noexcept { return std::holds_alternative<None>(data); }

  /// The alternative of this type, or null.
  const std::string* string() const noexcept { return std::get_if<std::string>(&data); }
  const List* list() const noexcept;
  const Mapping* mapping() const noexcept;
};

/// A value as messages call it: "a string", "undefined ('name')". Local.
std::string describe(const Value& value);

/// Whether a condition takes it for true. Local.
bool is_true(const Value& value) noexcept;

/// Equality as in Python: true equals 1, undefined equals undefined. Local.
bool are_equal(const Value& left, const Value& right) noexcept;

/// Stores a number (true counts as 1) in `number`. False for anything else. Local.
bool to_integer(const Value& value, std::int64_t& number) noexcept;

/// Appends what printing the value shows. False, with nothing appended, for a list or mapping.
/// Local.
bool append_text(const Value& value, std::string& text);

/// Appends the value as JSON as Python's `json.dumps` writes it without `ensure_ascii`. False, with
/// `text` unspecified, if something in it is undefined. Local.
bool append_json(const Value& value, std::string& text);

/// `text` without the white space (as Python sees it) at its ends. Local.
std::string_view trimmed(std::string_view text);
std::string_view trimmed_front(std::string_view text);
std::string_view trimmed_back(std::string_view text);

}  // namespace cohort::jinja
