#pragma once

#include <string>

#include "model/tokenizer.hpp"

namespace cohort {

/// Turns tokens into text as they come, in whole characters: what is held back is never more than
/// the beginning of one. All that it returns, joined, is `Tokenizer::decode` of all the tokens.
class StreamingDecoder {
 public:
  /// `tokenizer` must live as long.
  explicit StreamingDecoder(const Tokenizer& tokenizer, ControlText control = ControlText::drop)
      : tokenizer_(&tokenizer), control_(control) {}

  /// The characters that `token` completes. Local.
  /// Throws: Error{usage} for an id outside the vocabulary.
  std::string push(TokenId token);

  /// Ends the text: U+FFFD if the beginning of a character was held back, else nothing. Local.
  std::string flush();

 private:
  const Tokenizer* tokenizer_;
  ControlText control_;
  std::string held_;  // at most 3 bytes: the beginning of a character
};

}  // namespace cohort
