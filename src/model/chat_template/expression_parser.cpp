#include "model/chat_template/expression_parser.hpp"

#include <array>
#include <charconv>
#include <utility>

namespace cohort::jinja {
namespace {

/// Counts one level of nesting for as long as it lives.
class DepthGuard {
 public:
  DepthGuard(std::uint32_t& depth, Position position) : depth_(depth) {
    if (++depth_ > kNestingMax) {
      --depth_;
      refuse(position, "nested more than " + std::to_string(kNestingMax) + " deep");
    }
  }
  DepthGuard(const DepthGuard&) = delete;
  DepthGuard& operator=(const DepthGuard&) = delete;
  ~DepthGuard() { --depth_; }

 private:
  std::uint32_t& depth_;
};

Expression make(Operation operation, Position position, std::vector<Expression> operands = {}) {
  return {operation, position, {}, {}, std::move(operands)};
}

Expression make_literal(Position position, Value value) {
  return {Operation::literal, position, std::move(value), {}, {}};
}

std::vector<Expression> operands_of(Expression first) {
  std::vector<Expression> operands;
  operands.push_back(std::move(first));
  return operands;
}

std::vector<Expression> operands_of(Expression first, Expression second) {
  std::vector<Expression> operands = operands_of(std::move(first));
  operands.push_back(std::move(second));
  return operands;
}

}  // namespace

const Token& TokenReader::peek_second() const noexcept {
  return tokens_[index_ + 1 < tokens_.size() ? index_ + 1 : index_];
}

const Token& TokenReader::take() noexcept {
  const Token& token = tokens_[index_];
  if (token.kind != TokenKind::end) ++index_;
  return token;
}

bool TokenReader::is(TokenKind kind, std::string_view text) const noexcept {
  return peek().kind == kind && peek().text == text;
}

bool TokenReader::take_if(TokenKind kind, std::string_view text) noexcept {
  if (!is(kind, text)) return false;
  take();
  return true;
}

void TokenReader::expect_symbol(std::string_view symbol) {
  if (take_if(TokenKind::symbol, symbol)) return;
  refuse(peek().position, "'" + std::string(symbol) + "' is missing here");
}

void TokenReader::expect(TokenKind kind) {
  if (peek().kind != kind) refuse_front();
  take();
}

void TokenReader::refuse_front() const {
  const Token& token = peek();
  switch (token.kind) {
    case TokenKind::output_end:
    case TokenKind::block_end:
      refuse(token.position, "the tag ends where an expression should go on");
    case TokenKind::string: refuse(token.position, "a string is not expected here");
    default: refuse(token.position, "'" + token.text + "' is not supported here");
  }
}

Expression ExpressionParser::parse(bool is_in_loop) {
  is_in_loop_ = is_in_loop;
  return parse_any();
}

Expression ExpressionParser::parse_chain(Operation operation, const Token& separator,
                                         Expression (ExpressionParser::*parse_operand)()) {
  Expression first = (this->*parse_operand)();
  if (!tokens_.is(separator.kind, separator.text)) return first;
  Expression chain = make(operation, tokens_.peek().position, operands_of(std::move(first)));
  while (tokens_.take_if(separator.kind, separator.text)) {
    chain.operands.push_back((this->*parse_operand)());
  }
  return chain;
}

Expression ExpressionParser::parse_any() {
  const DepthGuard guard(depth_, tokens_.peek().position);
  return parse_chain(Operation::any_true, {TokenKind::name, "or", {}},
                     &ExpressionParser::parse_all);
}

Expression ExpressionParser::parse_all() {
  return parse_chain(Operation::all_true, {TokenKind::name, "and", {}},
                     &ExpressionParser::parse_negation);
}

Expression ExpressionParser::parse_negation() {
  const Position position = tokens_.peek().position;
  if (!tokens_.take_if(TokenKind::name, "not")) return parse_comparison();
  const DepthGuard guard(depth_, position);
  return make(Operation::negation, position, operands_of(parse_negation()));
}

Expression ExpressionParser::parse_comparison() {
  const auto take_operator = [this]() -> std::optional<Operation> {
    if (tokens_.take_if(TokenKind::symbol, "==")) return Operation::equal;
    if (tokens_.take_if(TokenKind::symbol, "!=")) return Operation::not_equal;
    if (tokens_.take_if(TokenKind::name, "in")) return Operation::contained;
    if (tokens_.is(TokenKind::name, "not") && tokens_.peek_second().text == "in") {
      tokens_.take();
      tokens_.take();
      return Operation::not_contained;
    }
    return std::nullopt;
  };
  Expression left = parse_sum();
  const Position position = tokens_.peek().position;
  const std::optional<Operation> operation = take_operator();
  if (!operation) return left;
  Expression right = parse_sum();
  const Position next = tokens_.peek().position;
  if (take_operator()) refuse(next, "a comparison of three values is not supported");
  return make(*operation, position, operands_of(std::move(left), std::move(right)));
}

Expression ExpressionParser::parse_sum() {
  return parse_chain(Operation::add, {TokenKind::symbol, "+", {}},
                     &ExpressionParser::parse_filtered);
}

Expression ExpressionParser::parse_filtered() {
  Expression result = parse_members();
  for (std::uint32_t count = 0;; ++count) {
    const Position position = tokens_.peek().position;
    if (tokens_.take_if(TokenKind::symbol, "|")) {
      result = parse_filter(std::move(result));
    } else if (tokens_.take_if(TokenKind::name, "is")) {
      result = parse_test(std::move(result));
    } else {
      return result;
    }
    if (count == kNestingMax) refuse(position, "too many filters");
  }
}

Expression ExpressionParser::parse_filter(Expression input) {
  const Token name = tokens_.peek();
  const bool is_name = name.kind == TokenKind::name;
  if (!is_name || (name.text != "trim" && name.text != "tojson")) {
    refuse(name.position, "filter '" + name.text + "' is not supported; known: trim, tojson");
  }
  tokens_.take();
  if (tokens_.is(TokenKind::symbol, "(")) {
    refuse(tokens_.peek().position, "arguments of a filter are not supported");
  }
  return make(name.text == "trim" ? Operation::trim : Operation::to_json, name.position,
              operands_of(std::move(input)));
}

Expression ExpressionParser::parse_test(Expression subject) {
  const bool is_negated = tokens_.take_if(TokenKind::name, "not");
  const Token name = tokens_.peek();
  Operation operation = Operation::is_defined;
  if (tokens_.take_if(TokenKind::name, "none")) {
    operation = Operation::is_none;
  } else if (!tokens_.take_if(TokenKind::name, "defined")) {
    refuse(name.position, "test '" + name.text + "' is not supported; known: defined, none");
  }
  refuse_test_argument();
  Expression test = make(operation, name.position, operands_of(std::move(subject)));
  if (!is_negated) return test;
  return make(Operation::negation, name.position, operands_of(std::move(test)));
}

void ExpressionParser::refuse_test_argument() const {
  // A value right after a test is its argument, and a word that is no operator begins a value:
  // "x is defined in y" is a test of `in`.
  const Token& next = tokens_.peek();
  const bool is_operator = next.text == "and" || next.text == "or";
  const bool is_opening = next.text == "(" || next.text == "[" || next.text == "{";
  if ((next.kind == TokenKind::name && !is_operator) || next.kind == TokenKind::string ||
      next.kind == TokenKind::integer || (next.kind == TokenKind::symbol && is_opening)) {
    refuse(next.position, "arguments of a test are not supported");
  }
}

Expression ExpressionParser::parse_members() {
  Expression result = parse_primary();
  for (std::uint32_t count = 0;; ++count) {
    const Position position = tokens_.peek().position;
    if (tokens_.take_if(TokenKind::symbol, ".")) {
      result = parse_member(std::move(result));
    } else if (tokens_.take_if(TokenKind::symbol, "[")) {
      result = parse_item(std::move(result));
    } else if (tokens_.is(TokenKind::symbol, "(")) {
      refuse(position, "calls are not supported");
    } else {
      return result;
    }
    if (count == kNestingMax) refuse(position, "too many members of members");
  }
}

Expression ExpressionParser::parse_member(Expression owner) {
  const Token name = tokens_.peek();
  if (name.kind != TokenKind::name) refuse(name.position, "a name is missing after '.'");
  tokens_.take();
  Expression member = make(Operation::member, name.position, operands_of(std::move(owner)));
  member.text = name.text;
  return member;
}

Expression ExpressionParser::parse_item(Expression owner) {
  const Position position = tokens_.peek().position;
  Expression index = parse_any();
  if (tokens_.is(TokenKind::symbol, ":")) {
    refuse(tokens_.peek().position, "slices are not supported");
  }
  tokens_.expect_symbol("]");
  return make(Operation::item, position, operands_of(std::move(owner), std::move(index)));
}

Expression ExpressionParser::parse_primary() {
  const Token& token = tokens_.peek();
  switch (token.kind) {
    case TokenKind::name: return parse_name();
    case TokenKind::string: return parse_string();
    case TokenKind::integer: return parse_integer(false);
    default: break;
  }
  if (token.text == "-" && tokens_.peek_second().kind == TokenKind::integer) {
    tokens_.take();
    Expression number = parse_integer(true);
    // There the sign would be taken last.
    if (tokens_.is(TokenKind::symbol, "[")) tokens_.refuse_front();
    if (tokens_.is(TokenKind::symbol, ".")) tokens_.refuse_front();
    return number;
  }
  if (!tokens_.take_if(TokenKind::symbol, "(")) tokens_.refuse_front();
  Expression inner = parse_any();
  tokens_.expect_symbol(")");
  return inner;
}

Expression ExpressionParser::parse_name() {
  const Token name = tokens_.peek();
  // Words of the language that stand where a value should.
  constexpr std::array<std::string_view, 7> kReserved{"and", "or", "in", "is", "if", "else", "not"};
  for (const std::string_view word : kReserved) {
    if (name.text == word) tokens_.refuse_front();
  }
  tokens_.take();
  if (name.text == "true" || name.text == "True") return make_literal(name.position, {true});
  if (name.text == "false" || name.text == "False") return make_literal(name.position, {false});
  if (name.text == "none" || name.text == "None") return make_literal(name.position, {None{}});
  if (name.text == "loop") return parse_loop_field(name.position);
  Expression variable = make(Operation::name, name.position);
  variable.text = name.text;
  return variable;
}

Expression ExpressionParser::parse_loop_field(Position position) {
  if (!is_in_loop_) refuse(position, "'loop' is used outside of a 'for'");
  tokens_.expect_symbol(".");
  const Token field = tokens_.peek();
  constexpr std::array<std::pair<std::string_view, Operation>, 4> kFields{
      {{"first", Operation::loop_first},
       {"last", Operation::loop_last},
       {"index", Operation::loop_index},
       {"index0", Operation::loop_index0}}};
  for (const auto& [name, operation] : kFields) {
    if (tokens_.take_if(TokenKind::name, name)) return make(operation, position);
  }
  refuse(field.position,
         "'loop." + field.text + "' is not supported; known: first, last, index, index0");
}

Expression ExpressionParser::parse_integer(bool is_negative) {
  const Token digits = tokens_.take();
  std::int64_t number = 0;
  const char* end = digits.text.data() + digits.text.size();
  const auto result = std::from_chars(digits.text.data(), end, number);
  if (result.ec != std::errc{}) refuse(digits.position, "the number is too large");
  return make_literal(digits.position, {is_negative ? -number : number});
}

Expression ExpressionParser::parse_string() {
  const Position position = tokens_.peek().position;
  std::string text;
  // Strings side by side are one, as in Python.
  while (tokens_.peek().kind == TokenKind::string) text += tokens_.take().text;
  return make_literal(position, {std::move(text)});
}

}  // namespace cohort::jinja
