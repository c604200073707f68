// A tokeniser made from anything, and any text through a sound one.
//
// Lines of the input: the pre-tokeniser's name; four special ids and a flag, a character each;
// token types, a character each; tokens, cut at spaces; merges, cut at '|'; the rest is the text.

#include "model/tokenizer.hpp"

#include <optional>

#include "fuzz/fuzz.hpp"
#include "model/tokenizer_alphabet.hpp"
#include "model/tokenizer_stream.hpp"

namespace cohort::fuzz {
namespace {

std::optional<TokenId> id_of(std::string_view ids, std::size_t index) {
  if (index >= ids.size() || ids[index] == '-') return std::nullopt;
  return static_cast<TokenId>(static_cast<unsigned char>(ids[index])) - '0';
}

TokenizerSpec spec_from(std::string_view& text) {
  TokenizerSpec spec;
  spec.pre = cut(text, '\n');
  const std::string_view ids = cut(text, '\n');
  spec.bos = id_of(ids, 0);
  spec.eos = id_of(ids, 1);
  spec.unknown = id_of(ids, 2);
  spec.padding = id_of(ids, 3);
  spec.add_bos = id_of(ids, 4).has_value();
  for (const char type : cut(text, '\n')) spec.token_types.push_back(TokenType{type - '0'});
  std::string_view tokens = cut(text, '\n');
  while (!tokens.empty()) spec.tokens.emplace_back(cut(tokens, ' '));
  std::string_view merges = cut(text, '\n');
  while (!merges.empty()) spec.merges.emplace_back(cut(merges, '|'));
  return spec;
}

/// A token for every byte, merges over letters and spaces, and special tokens of each type.
Tokenizer sound_tokenizer() {
  TokenizerSpec spec;
  spec.pre = "smollm";
  spec.token_types.assign(256, TokenType::normal);
  for (unsigned byte = 0; byte < 256; ++byte) {
    spec.tokens.push_back(byte_level_character(static_cast<std::uint8_t>(byte)));
  }
  const auto add = [&](const std::string& token, TokenType type) {
    spec.tokens.push_back(token);
    spec.token_types.push_back(type);
    return static_cast<TokenId>(spec.tokens.size() - 1);
  };
  for (const char* const merge : {"a b", "ab a", "Ġ a", "Ġa b", "a a", "aa aa", "Ċ Ċ", "1 2"}) {
    spec.merges.emplace_back(merge);
    std::string token(merge);
    token.erase(token.find(' '), 1);
    add(token, TokenType::normal);
  }
  spec.bos = add("<|begin|>", TokenType::control);
  spec.eos = add("<|end|>", TokenType::control);
  add("<file>", TokenType::user_defined);
  return Tokenizer(spec);
}

/// What a stream of tokens says is what they say at once.
void check_stream(const Tokenizer& tokenizer, const Encoding& encoding) {
  StreamingDecoder decoder(tokenizer);
  std::string streamed;
  for (const TokenId token : encoding.ids) streamed += decoder.push(token);
  streamed += decoder.flush();
  if (streamed != tokenizer.decode(encoding.ids, ControlText::drop)) {
    finding("a stream of tokens says what they say at once", streamed);
  }
}

void encode(const Tokenizer& tokenizer, std::string_view text, bool is_sound) {
  accepted([&] {
    const Encoding encoding = tokenizer.encode(text);
    check_stream(tokenizer, encoding);
    if (!is_sound) return;
    if (encoding.dropped_byte_count != 0) finding("every byte has a token", text);
    if (tokenizer.decode(encoding.ids) != text) finding("tokens say what was encoded", text);
  });
}

}  // namespace
}  // namespace cohort::fuzz

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cohort;
  static const Tokenizer sound = fuzz::sound_tokenizer();
  const std::string_view whole = fuzz::text_of({data, size});
  std::string_view text = whole;
  fuzz::accepted([&] {
    const Tokenizer tokenizer(fuzz::spec_from(text));
    fuzz::encode(tokenizer, text, false);
    static_cast<void>(tokenizer.encode_prompt(text));
  });
  fuzz::encode(sound, whole, true);
  return 0;
}
