#pragma once

#include <cstddef>
#include <iosfwd>
#include <span>
#include <string>
#include <vector>

#include "generate_options.hpp"
#include "model/gguf.hpp"
#include "model/tokenizer.hpp"

namespace cohort {

/// A prompt as given and as tokens.
struct Prompt {
  std::string text;
  std::vector<TokenId> tokens;
};

/// All of `input`. Throws: Error{usage} if it is too long for a prompt.
std::string read_typed_prompt(std::istream& input);

/// The prompts' texts, from the flags, the file or else all of `input` as one prompt.
/// Throws: Error{usage, corrupt} naming the prompt or the line.
std::vector<std::string> read_prompt_texts(const GenerateFlags& flags, std::istream& input);

/// Turns texts into tokens, through the model's chat template if asked for. Local.
/// Throws: Error{usage} naming the prompt, Error{corrupt} or Error{unsupported} for the template.
std::vector<Prompt> tokenize_prompts(std::vector<std::string> texts, const GgufFile& file,
                                     const Tokenizer& tokenizer, bool chat);

/// Prompts as bytes for other ranks, and back. Local.
std::vector<std::byte> encode_prompts(std::span<const Prompt> prompts);
std::vector<Prompt> decode_prompts(std::span<const std::byte> bytes);

}  // namespace cohort
