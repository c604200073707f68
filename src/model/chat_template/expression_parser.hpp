#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/chat_template/syntax.hpp"

namespace cohort::jinja {

/// How deep tags, parentheses and chains of members may nest: far beyond real templates, and well
/// within a thread's stack.
inline constexpr std::uint32_t kNestingMax = 100;

/// Reads tokens from front to back; never past the last, which is `end`.
class TokenReader {
 public:
  explicit TokenReader(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  const Token& peek() const noexcept { return tokens_[index_]; }
  const Token& peek_second() const noexcept;

  /// The front token, which is passed.
  const Token& take() noexcept;

  bool is(TokenKind kind, std::string_view text) const noexcept;
  bool take_if(TokenKind kind, std::string_view text) noexcept;

  /// Passes the symbol or refuses what is there instead.
  void expect_symbol(std::string_view symbol);
  void expect(TokenKind kind);

  /// Refuses the front token, as it is not supported or makes no sense where it stands.
  [[noreturn]] void refuse_front() const;

 private:
  std::vector<Token> tokens_;
  std::size_t index_ = 0;
};

/// Parses one expression at a time, weakest operator first: or, and, not, comparison, +, filter.
class ExpressionParser {
 public:
  explicit ExpressionParser(TokenReader& tokens) : tokens_(tokens) {}

  /// The expression at the front. `is_in_loop`: whether `loop` means anything.
  Expression parse(bool is_in_loop);

 private:
  Expression parse_any();
  Expression parse_all();
  Expression parse_negation();
  Expression parse_comparison();
  Expression parse_sum();
  Expression parse_filtered();
  Expression parse_members();
  Expression parse_primary();
  Expression parse_name();
  Expression parse_loop_field(Position position);
  Expression parse_integer(bool is_negative);
  Expression parse_string();
  Expression parse_member(Expression owner);
  Expression parse_item(Expression owner);
  Expression parse_filter(Expression input);
  Expression parse_test(Expression subject);
  void refuse_test_argument() const;

  /// What `parse_operand` parses, joined by `separator`; a single one is itself.
  Expression parse_chain(Operation operation, const Token& separator,
                         Expression (ExpressionParser::*parse_operand)());

  TokenReader& tokens_;
  bool is_in_loop_ = false;
  std::uint32_t depth_ = 0;
};

}  // namespace cohort::jinja
