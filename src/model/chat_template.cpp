#include "model/chat_template.hpp"

#include <map>
#include <memory>
#include <utility>

#include <cohort/error.hpp>

#include "model/chat_template/evaluator.hpp"
#include "model/chat_template/parser.hpp"
#include "model/utf8.hpp"

namespace cohort {
namespace {

jinja::Block parse_checked(std::string_view source) {
  const std::optional<std::size_t> offset = first_invalid_utf8(source);
  if (offset) {
    throw Error(ErrorCode::corrupt,
                "the model's chat template is not UTF-8 at byte offset " + std::to_string(*offset));
  }
  return jinja::parse(source);
}

jinja::Value optional_text(const std::optional<std::string>& text, const char* name) {
  if (text) return {*text};
  return {jinja::Undefined{name}};
}

}  // namespace

ChatTemplate::ChatTemplate(std::string_view source) : program_(parse_checked(source)) {}

std::string ChatTemplate::render(std::span<const ChatMessage> messages,
                                 const ChatOptions& options) const {
  jinja::List list;
  for (std::size_t i = 0; i < messages.size(); ++i) {
    const ChatMessage& message = messages[i];
    if (first_invalid_utf8(message.content) || first_invalid_utf8(message.role)) {
      throw Error(ErrorCode::usage, "message " + std::to_string(i) +
                                        " of the chat is not UTF-8; convert it to UTF-8");
    }
    jinja::Mapping fields{{"role", {message.role}}, {"content", {message.content}}};
    list.push_back({std::make_shared<const jinja::Mapping>(std::move(fields))});
  }
  // Templates ask for tools and documents; a chat here has none.
  return jinja::evaluate(program_,
                         {{"messages", {std::make_shared<const jinja::List>(std::move(list))}},
                          {"add_generation_prompt", {options.add_generation_prompt}},
                          {"bos_token", optional_text(options.bos_token, "bos_token")},
                          {"eos_token", optional_text(options.eos_token, "eos_token")},
                          {"tools", {jinja::None{}}},
                          {"documents", {jinja::None{}}}});
}

}  // namespace cohort
