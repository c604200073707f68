#include "model/chat_template/parser.hpp"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <string>
#include <utility>

#include "model/chat_template/expression_parser.hpp"

namespace cohort::jinja {
namespace {

class Parser {
 public:
  explicit Parser(std::string_view source) : tokens_(tokenize(source)), expressions_(tokens_) {}

  Block run() { return parse_block({}, {}); }

 private:
  /// A statement whose end is still to come.
  struct Opening {
    std::string_view name;
    std::string_view end_name;
    Position position;
  };

  /// Statements up to a tag with one of the names of `ends`, of which the name is left at the
  /// front; up to the end of the template where `ends` is empty.
  Block parse_block(std::initializer_list<std::string_view> ends, const Opening& opening) {
    Block block;
    for (;;) {
      const Token& token = tokens_.peek();
      if (token.kind == TokenKind::end) {
        if (ends.size() == 0) return block;
        refuse(opening.position, "'" + std::string(opening.name) + "' is not closed by '" +
                                     std::string(opening.end_name) + "'");
      }
      if (token.kind == TokenKind::block_begin) {
        tokens_.take();
        const Token& name = tokens_.peek();
        if (name.kind == TokenKind::name &&
            std::find(ends.begin(), ends.end(), name.text) != ends.end()) {
          return block;
        }
        block.push_back(parse_statement());
      } else if (token.kind == TokenKind::output_begin) {
        block.push_back(parse_output());
      } else {
        block.push_back({StatementKind::text, token.position, token.text, {}, {}, {}});
        tokens_.take();
      }
    }
  }

  Statement parse_output() {
    const Position position = tokens_.take().position;
    Statement output{StatementKind::output, position, {}, parse_expression(), {}, {}};
    tokens_.expect(TokenKind::output_end);
    return output;
  }

  Statement parse_statement() {
    const Token name = tokens_.peek();
    if (++depth_ > kNestingMax) {
      refuse(name.position, "nested more than " + std::to_string(kNestingMax) + " deep");
    }
    Statement statement;
    if (tokens_.take_if(TokenKind::name, "for")) {
      statement = parse_for(name.position);
    } else if (tokens_.take_if(TokenKind::name, "if")) {
      statement = parse_if(name.position);
    } else if (tokens_.take_if(TokenKind::name, "set")) {
      statement = parse_set(name.position);
    } else {
      refuse_statement(name);
    }
    --depth_;
    return statement;
  }

  [[noreturn]] static void refuse_statement(const Token& name) {
    constexpr std::array<std::string_view, 4> kParts{"elif", "else", "endif", "endfor"};
    if (std::find(kParts.begin(), kParts.end(), name.text) != kParts.end()) {
      refuse(name.position, "'" + name.text + "' does not belong here");
    }
    refuse(name.position, "statement '" + name.text + "' is not supported; known: for, if, set");
  }

  Statement parse_for(Position position) {
    Statement loop{StatementKind::for_each, position, parse_target(), {}, {}, {}};
    if (!tokens_.take_if(TokenKind::name, "in")) {
      refuse(tokens_.peek().position, "'in' is missing here");
    }
    loop.expression = parse_expression();
    tokens_.expect(TokenKind::block_end);
    ++loop_depth_;
    loop.body = parse_block({"endfor"}, {"for", "endfor", position});
    --loop_depth_;
    tokens_.take();
    tokens_.expect(TokenKind::block_end);
    return loop;
  }

  Statement parse_if(Position position) {
    Statement statement{StatementKind::branches, position, {}, {}, {}, {}};
    const Opening opening{"if", "endif", position};
    std::string part = "elif";
    while (part == "elif") {
      Branch branch;
      branch.condition = parse_expression();
      part = parse_branch_body(branch, {"elif", "else", "endif"}, opening);
      statement.branches.push_back(std::move(branch));
    }
    if (part == "else") {
      Branch otherwise;
      parse_branch_body(otherwise, {"endif"}, opening);
      statement.branches.push_back(std::move(otherwise));
    }
    tokens_.expect(TokenKind::block_end);
    return statement;
  }

  /// The rest of the tag and the body; returns the name, passed, of the tag that ends it.
  std::string parse_branch_body(Branch& branch, std::initializer_list<std::string_view> ends,
                                const Opening& opening) {
    tokens_.expect(TokenKind::block_end);
    branch.body = parse_block(ends, opening);
    return tokens_.take().text;
  }

  Statement parse_set(Position position) {
    Statement set{StatementKind::set, position, parse_target(), {}, {}, {}};
    tokens_.expect_symbol("=");
    set.expression = parse_expression();
    tokens_.expect(TokenKind::block_end);
    return set;
  }

  /// A variable that may be assigned to.
  std::string parse_target() {
    const Token name = tokens_.peek();
    constexpr std::array<std::string_view, 14> kReserved{"true", "True", "false", "False", "none",
                                                         "None", "loop", "and",   "or",    "not",
                                                         "in",   "is",   "if",    "else"};
    if (name.kind != TokenKind::name ||
        std::find(kReserved.begin(), kReserved.end(), name.text) != kReserved.end()) {
      refuse(name.position, "the name of a variable is missing here");
    }
    tokens_.take();
    return name.text;
  }

  Expression parse_expression() { return expressions_.parse(loop_depth_ > 0); }

  TokenReader tokens_;
  ExpressionParser expressions_;
  std::uint32_t depth_ = 0;
  std::uint32_t loop_depth_ = 0;
};

}  // namespace

Block parse(std::string_view source) {
  return Parser(source).run();
}

}  // namespace cohort::jinja
