// A model's chat template: the program, in a subset of the Jinja language, that writes a
// conversation the way the model was trained to read it.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "model/chat_template/syntax.hpp"

namespace cohort {

/// One turn of a conversation.
struct ChatMessage {
  std::string role;  // "system", "user", "assistant"
  std::string content;
};

/// What a template may use besides the messages.
struct ChatOptions {
  bool add_generation_prompt = true;     // end with the beginning of the assistant's turn
  std::optional<std::string> bos_token;  // as text; undefined in the template where absent
  std::optional<std::string> eos_token;
};

/// Immutable; any number of threads may use one.
class ChatTemplate {
 public:
  /// Throws: Error{corrupt} if `source` is not UTF-8, Error{unsupported} naming line and column of
  /// what is not of the subset (see parser.hpp).
  explicit ChatTemplate(std::string_view source);

  /// The conversation as one text, special tokens spelt out. Local.
  /// Throws: Error{usage} if a message is not UTF-8, Error{unsupported} naming line and column of
  /// what the template cannot do with these messages.
  std::string render(std::span<const ChatMessage> messages, const ChatOptions& options) const;

 private:
  jinja::Block program_;
};

}  // namespace cohort
