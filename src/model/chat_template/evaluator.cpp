#include "model/chat_template/evaluator.hpp"

#include <algorithm>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "model/utf8.hpp"

namespace cohort::jinja {
namespace {

/// The element at `index`, which counts from the end where negative, or null.
template <class Sequence>
const typename Sequence::value_type* element_at(const Sequence& sequence, std::int64_t index) {
  const auto count = static_cast<std::int64_t>(sequence.size());
  if (index < 0) index += count;
  return index < 0 || index >= count ? nullptr : &sequence[static_cast<std::size_t>(index)];
}

const Value* find_member(const Mapping& mapping, std::string_view name) {
  const auto entry =
      std::find_if(mapping.begin(), mapping.end(), [&](const auto& e) { return e.first == name; });
  return entry == mapping.end() ? nullptr : &entry->second;
}

/// The character of `text` at `index`, counted as `element_at` does.
std::optional<std::string> character_at(std::string_view text, std::int64_t index) {
  const auto is_begin = [](char byte) {
    return (static_cast<unsigned char>(byte) & 0xC0U) != 0x80;
  };
  if (index < 0) index += std::count_if(text.begin(), text.end(), is_begin);
  if (index < 0) return std::nullopt;
  for (; index > 0 && !text.empty(); --index) text.remove_prefix(next_utf8(text).byte_count);
  if (text.empty()) return std::nullopt;
  return std::string(text.substr(0, next_utf8(text).byte_count));
}

class Evaluator {
 public:
  explicit Evaluator(std::map<std::string, Value> variables) {
    scopes_.push_back(std::move(variables));
  }

  std::string run(const Block& program) {
    execute(program);
    return std::move(output_);
  }

 private:
  /// Where the innermost loop stands.
  struct Loop {
    std::size_t index = 0;
    std::size_t count = 0;
  };

  void execute(const Block& block) {
    for (const Statement& statement : block) execute(statement);
  }

  void execute(const Statement& statement) {
    switch (statement.kind) {
      case StatementKind::text: output_ += statement.text; break;
      case StatementKind::output:
        append_printed(evaluate(statement.expression), statement.expression.position, output_);
        break;
      case StatementKind::set:
        scopes_.back()[statement.text] = evaluate(statement.expression);
        break;
      case StatementKind::for_each: run_loop(statement); break;
      case StatementKind::branches:
        for (const Branch& branch : statement.branches) {
          if (branch.condition && !is_true(evaluate(*branch.condition))) continue;
          execute(branch.body);
          break;
        }
        break;
    }
    check_length(output_, statement.position);
  }

  void run_loop(const Statement& statement) {
    const Value sequence = evaluate(statement.expression);
    if (sequence.is_undefined()) return;  // as empty as it prints
    if (sequence.list() == nullptr) {
      refuse(statement.expression.position, "a loop over " + describe(sequence));
    }
    const std::optional<Loop> outer_loop = loop_;
    const List& elements = *sequence.list();
    for (std::size_t i = 0; i < elements.size(); ++i) {
      if (++iteration_count_ > kIterationCountMax) {
        refuse(statement.position,
               "loops run more than " + std::to_string(kIterationCountMax) + " times");
      }
      loop_ = Loop{i, elements.size()};
      // What one round sets, neither the next nor the rest of the template sees.
      scopes_.push_back({{statement.text, elements[i]}});
      execute(statement.body);
      scopes_.pop_back();
    }
    loop_ = outer_loop;
  }

  Value evaluate(const Expression& expression) {
    Value value = compute(expression);
    const std::string* text = value.string();
    work(expression, kExpressionWork + (text == nullptr ? 0 : text->size()));
    return value;
  }

  void work(const Expression& expression, std::uint64_t amount) {
    work_ += amount;
    if (work_ > kWorkMax) refuse(expression.position, "the template takes too long to run");
  }

  Value compute(const Expression& expression) {
    const auto operand = [&](std::size_t i) { return evaluate(expression.operands[i]); };
    switch (expression.operation) {
      case Operation::literal: return expression.literal;
      case Operation::name: return look_up(expression.text);
      case Operation::loop_first: return {loop_->index == 0};
      case Operation::loop_last: return {loop_->index + 1 == loop_->count};
      case Operation::loop_index: return {static_cast<std::int64_t>(loop_->index + 1)};
      case Operation::loop_index0: return {static_cast<std::int64_t>(loop_->index)};
      case Operation::member: return item_of(expression, operand(0), {expression.text});
      case Operation::item: {
        const Value owner = operand(0);
        return item_of(expression, owner, operand(1));
      }
      case Operation::add: return sum_of(expression);
      case Operation::equal:
      case Operation::not_equal: {
        const Value left = operand(0);
        return {are_equal(left, operand(1)) == (expression.operation == Operation::equal)};
      }
      case Operation::contained:
      case Operation::not_contained: {
        const Value part = operand(0);
        const bool is_contained = contains(expression, operand(1), part);
        return {is_contained == (expression.operation == Operation::contained)};
      }
      case Operation::all_true:
      case Operation::any_true: return choose(expression);
      case Operation::negation: return {!is_true(operand(0))};
      case Operation::is_defined: return {!operand(0).is_undefined()};
      case Operation::is_none: return {operand(0).is_none()};
      case Operation::trim: {
        std::string text;
        append_printed(operand(0), expression.position, text);
        return {std::string(trimmed(text))};
      }
      case Operation::to_json: return to_json(expression, operand(0));
    }
    return {};
  }

  Value look_up(const std::string& name) const {
    for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
      const auto variable = scope->find(name);
      if (variable != scope->end()) return variable->second;
    }
    return {Undefined{name}};
  }

  /// `owner`[`key`], which is also `owner`.key; undefined where there is none.
  static Value item_of(const Expression& expression, const Value& owner, const Value& key) {
    if (const auto* undefined = std::get_if<Undefined>(&owner.data)) {
      refuse(expression.position, "'" + undefined->name + "' is undefined, so it has no members");
    }
    const Value* found = nullptr;
    std::int64_t index = 0;
    std::string name = describe(key);
    if (key.string() != nullptr) {
      name = *key.string();
      if (owner.mapping() != nullptr) found = find_member(*owner.mapping(), name);
    } else if (to_integer(key, index)) {
      name = std::to_string(index);
      if (owner.list() != nullptr) found = element_at(*owner.list(), index);
      if (owner.string() != nullptr) {
        std::optional<std::string> character = character_at(*owner.string(), index);
        if (character) return {std::move(*character)};
      }
    }
    return found != nullptr ? *found : Value{Undefined{name}};
  }

  /// Adds from left to right: strings to strings, integers to integers.
  Value sum_of(const Expression& expression) {
    Value sum = evaluate(expression.operands[0]);
    for (std::size_t i = 1; i < expression.operands.size(); ++i) {
      const Position position = expression.operands[i].position;
      const Value next = evaluate(expression.operands[i]);
      auto* text = std::get_if<std::string>(&sum.data);
      std::int64_t left = 0;
      std::int64_t right = 0;
      if (text != nullptr && next.string() != nullptr) {
        *text += *next.string();
        check_length(*text, position);
      } else if (to_integer(sum, left) && to_integer(next, right)) {
        std::int64_t total = 0;
        if (__builtin_add_overflow(left, right, &total)) refuse(position, "the sum is too large");
        sum = {total};
      } else {
        refuse(position, "a sum of " + describe(sum) + " and " + describe(next));
      }
    }
    return sum;
  }

  bool contains(const Expression& expression, const Value& whole, const Value& part) {
    if (whole.is_undefined()) return false;
    if (whole.string() != nullptr && part.string() != nullptr) {
      // At worst every place is compared up to the part's last byte.
      const std::uint64_t bytes = whole.string()->size();
      work(expression, bytes * std::min<std::uint64_t>(part.string()->size(), bytes) / 16);
      return whole.string()->find(*part.string()) != std::string::npos;
    }
    const bool is_key = part.list() == nullptr && part.mapping() == nullptr;
    if (whole.mapping() != nullptr && is_key) {
      return part.string() != nullptr && find_member(*whole.mapping(), *part.string()) != nullptr;
    }
    if (whole.list() == nullptr) {
      refuse(expression.position, "a search for " + describe(part) + " in " + describe(whole));
    }
    return std::any_of(whole.list()->begin(), whole.list()->end(),
                       [&](const Value& element) { return are_equal(element, part); });
  }

  /// `and`, `or`: the first operand that settles the question, else the last.
  Value choose(const Expression& expression) {
    const bool settles = expression.operation == Operation::any_true;
    Value value;
    for (const Expression& operand : expression.operands) {
      value = evaluate(operand);
      if (is_true(value) == settles) break;
    }
    return value;
  }

  static Value to_json(const Expression& expression, const Value& value) {
    std::string text;
    if (!append_json(value, text)) refuse(expression.position, describe(value) + " as JSON");
    check_length(text, expression.position);
    return {std::move(text)};
  }

  static void append_printed(const Value& value, Position position, std::string& text) {
    if (!append_text(value, text)) refuse(position, describe(value) + " as text");
  }

  static void check_length(std::string_view text, Position position) {
    if (text.size() <= kTextBytesMax) return;
    refuse(position, "the text grows past " + std::to_string(kTextBytesMax >> 20) + " MiB");
  }

  std::vector<std::map<std::string, Value>> scopes_;
  std::optional<Loop> loop_;
  std::uint32_t iteration_count_ = 0;
  std::uint64_t work_ = 0;
  std::string output_;
};

}  // namespace

std::string evaluate(const Block& program, std::map<std::string, Value> variables) {
  return Evaluator(std::move(variables)).run(program);
}

}  // namespace cohort::jinja
