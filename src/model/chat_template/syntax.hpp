// A parsed template: plain data that the evaluator walks.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "model/chat_template/lexer.hpp"
#include "model/chat_template/value.hpp"

namespace cohort::jinja {

enum class Operation : std::uint8_t {
  literal,     ///< value
  name,        ///< the variable `text`
  loop_first,  ///< these four: of the innermost loop
  loop_last,
  loop_index,
  loop_index0,
  member,  ///< operand 0 . text
  item,    ///< operand 0 [ operand 1 ]
  add,     ///< operand 0 + operand 1 + ...
  equal,
  not_equal,
  contained,  ///< operand 0 in operand 1
  not_contained,
  all_true,  ///< operand 0 and operand 1 and ...
  any_true,  ///< operand 0 or operand 1 or ...
  negation,
  is_defined,
  is_none,
  trim,     ///< operand 0 | trim
  to_json,  ///< operand 0 | tojson
};

struct Expression {
  Operation operation = Operation::literal;
  Position position;  // of the operator, else of the first character
  Value literal;
  std::string text;
  std::vector<Expression> operands;
};

struct Statement;
using Block = std::vector<Statement>;

/// One arm of an `if`; the last may have no condition.
struct Branch {
  std::optional<Expression> condition;
  Block body;
};

enum class StatementKind : std::uint8_t {
  text,      ///< prints `text`
  output,    ///< prints `expression`
  set,       ///< variable `text` = `expression`
  for_each,  ///< `body` for variable `text` in `expression`
  branches,  ///< the first of `branches` whose condition holds
};

struct Statement {
  StatementKind kind = StatementKind::text;
  Position position;
  std::string text;
  Expression expression;
  Block body;
  std::vector<Branch> branches;
};

}  // namespace cohort::jinja
