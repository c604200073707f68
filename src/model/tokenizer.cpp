#include "model/tokenizer.hpp"

#include <cstdio>
#include <limits>
#include <utility>

#include <cohort/error.hpp>

#include "model/printable.hpp"
#include "model/tokenizer_alphabet.hpp"
#include "model/utf8.hpp"

namespace cohort {
namespace {

Error corrupt(const std::string& what) {
  return Error(ErrorCode::corrupt, "the model's tokeniser is damaged: " + what);
}

std::string quoted(std::string_view text) {
  return "'" + printable(text) + "'";
}

bool is_known(TokenType type) noexcept {
  return type >= TokenType::normal && type <= TokenType::unused;
}

/// Whether the token is found by its text before words are cut.
bool is_special(TokenType type) noexcept {
  return type == TokenType::control || type == TokenType::user_defined ||
         type == TokenType::unknown;
}

void check_text(std::string_view text) {
  if (text.size() >= std::numeric_limits<std::uint32_t>::max()) {
    throw Error(ErrorCode::usage, "a text of " + std::to_string(text.size()) +
                                      " bytes is too long for one prompt; give it in parts");
  }
  const std::optional<std::size_t> offset = first_invalid_utf8(text);
  if (!offset) return;
  std::array<char, 8> byte{};
  std::snprintf(byte.data(), byte.size(), "0x%02X", static_cast<std::uint8_t>(text[*offset]));
  throw Error(ErrorCode::usage, std::string("the text is not UTF-8: byte ") + byte.data() +
                                    " at offset " + std::to_string(*offset) +
                                    " is not part of a character; convert it to UTF-8");
}

}  // namespace

Tokenizer::Tokenizer(const TokenizerSpec& spec)
    : pretokenizer_(pretokenizer_named(spec.pre)), add_bos_(spec.add_bos) {
  take_tokens(spec);
  take_byte_tokens();
  take_merges(spec);
  take_special_ids(spec);
}

void Tokenizer::take_tokens(const TokenizerSpec& spec) {
  if (spec.tokens.empty()) throw corrupt("it has no tokens (tokenizer.ggml.tokens)");
  if (spec.tokens.size() != spec.token_types.size()) {
    throw corrupt(std::to_string(spec.tokens.size()) + " tokens but " +
                  std::to_string(spec.token_types.size()) +
                  " token types (tokenizer.ggml.token_type)");
  }
  if (spec.tokens.size() >= std::numeric_limits<TokenId>::max()) {
    throw corrupt("it has more tokens than ids can number");
  }
  types_ = spec.token_types;
  bytes_.reserve(spec.tokens.size());
  vocabulary_.reserve(spec.tokens.size());
  for (TokenId id = 0; id < spec.tokens.size(); ++id) {
    const std::string& text = spec.tokens[id];
    if (!is_known(types_[id])) {
      throw Error(ErrorCode::unsupported,
                  "token " + std::to_string(id) + " is of type " +
                      std::to_string(static_cast<std::int32_t>(types_[id])) +
                      " (tokenizer.ggml.token_type); byte-level vocabularies have types 1 to 5");
    }
    if (text.empty()) throw corrupt("token " + std::to_string(id) + " is empty");
    if (first_invalid_utf8(text)) {
      throw corrupt("token " + std::to_string(id) + ", " + quoted(text) + ", is not UTF-8");
    }
    const auto [entry, is_new] = vocabulary_.try_emplace(text, id);
    if (!is_new) {
      throw corrupt("tokens " + std::to_string(entry->second) + " and " + std::to_string(id) +
                    " are both " + quoted(text));
    }
    if (is_special(types_[id])) {
      special_.add(text, id);
      bytes_.push_back(text);
    } else {
      // Text beyond the alphabet is no sequence of bytes that words are made of: it is itself.
      bytes_.push_back(byte_level_bytes(text).value_or(text));
    }
  }
}

void Tokenizer::take_byte_tokens() {
  bool any = false;
  for (unsigned byte = 0; byte < byte_tokens_.size(); ++byte) {
    byte_tokens_[byte] = find(byte_level_character(static_cast<std::uint8_t>(byte)));
    any = any || byte_tokens_[byte].has_value();
  }
  if (!any) throw corrupt("no token stands for a single byte, so no text can be encoded");
}

void Tokenizer::take_merges(const TokenizerSpec& spec) {
  for (std::size_t i = 0; i < spec.merges.size(); ++i) {
    const std::string_view merge = spec.merges[i];
    const auto fail = [&](const std::string& why) {
      return corrupt("merge " + std::to_string(i) + " (tokenizer.ggml.merges), " + quoted(merge) +
                     ", " + why);
    };
    const std::size_t space = merge.find(' ');
    if (space == std::string_view::npos || merge.find(' ', space + 1) != std::string_view::npos) {
      throw fail("is not two tokens with one space between");
    }
    const std::string left(merge.substr(0, space));
    const std::string right(merge.substr(space + 1));
    const auto token_of = [&](const std::string& text) {
      const std::optional<TokenId> token = find(text);
      if (!token) throw fail("needs a token " + quoted(text) + " that the vocabulary lacks");
      return *token;
    };
    const TokenId left_token = token_of(left);
    const TokenId right_token = token_of(right);
    if (!merges_.add(left_token, right_token, token_of(left + right))) {
      throw fail("occurs twice");
    }
  }
}

void Tokenizer::take_special_ids(const TokenizerSpec& spec) {
  const auto checked = [this](std::optional<TokenId> token, const char* key) {
    if (token && *token >= vocabulary_count()) {
      throw corrupt(std::string(key) + " is " + std::to_string(*token) +
                    ", outside the vocabulary of " + std::to_string(vocabulary_count()));
    }
    return token;
  };
  bos_ = checked(spec.bos, "tokenizer.ggml.bos_token_id");
  eos_ = checked(spec.eos, "tokenizer.ggml.eos_token_id");
  unknown_ = checked(spec.unknown, "tokenizer.ggml.unknown_token_id");
  padding_ = checked(spec.padding, "tokenizer.ggml.padding_token_id");
  if (add_bos_ && !bos_) {
    throw corrupt(
        "tokenizer.ggml.add_bos_token is set, but there is no tokenizer.ggml.bos_token_id");
  }
}

Encoding Tokenizer::encode(std::string_view text) const {
  check_text(text);
  Encoding encoding;
  encode_into(text, encoding);
  return encoding;
}

Encoding Tokenizer::encode_prompt(std::string_view text) const {
  check_text(text);
  Encoding encoding;
  if (add_bos_) encoding.ids.push_back(*bos_);
  encode_into(text, encoding);
  return encoding;
}

void Tokenizer::encode_into(std::string_view text, Encoding& encoding) const {
  WordMerger merger(merges_);
  std::vector<std::string_view> words;
  std::vector<TokenId> word_tokens;
  const auto encode_plain = [&](std::string_view part) {
    words.clear();
    split_words(pretokenizer_, part, words);
    for (const std::string_view word : words) {
      word_tokens.clear();
      for (const char byte : word) {
        const std::optional<TokenId> token = byte_tokens_[static_cast<std::uint8_t>(byte)];
        if (token) word_tokens.push_back(*token);
        if (!token) ++encoding.dropped_byte_count;
      }
      merger.merge(word_tokens, encoding.ids);
    }
  };

  std::size_t begin = 0;  // of the text since the last special token
  for (std::size_t offset = 0; offset < text.size();) {
    const SpecialTokens::Match match = special_.match(text.substr(offset));
    if (match.byte_count == 0) {
      ++offset;
      continue;
    }
    encode_plain(text.substr(begin, offset - begin));
    encoding.ids.push_back(match.token);
    offset += match.byte_count;
    begin = offset;
  }
  encode_plain(text.substr(begin));
}

std::string Tokenizer::decode(std::span<const TokenId> ids, ControlText control) const {
  std::string bytes;
  for (const TokenId token : ids) {
    if (control == ControlText::keep || !is_control(token)) bytes += bytes_of(token);
  }
  return to_valid_utf8(bytes);
}

std::string_view Tokenizer::bytes_of(TokenId token) const {
  check_token(token);
  return bytes_[token];
}

bool Tokenizer::is_control(TokenId token) const {
  check_token(token);
  return types_[token] == TokenType::control || types_[token] == TokenType::unknown;
}

std::optional<TokenId> Tokenizer::find(std::string_view text) const {
  const auto entry = vocabulary_.find(std::string(text));
  if (entry == vocabulary_.end()) return std::nullopt;
  return entry->second;
}

void Tokenizer::check_token(TokenId token) const {
  if (token < vocabulary_count()) return;
  throw Error(ErrorCode::usage, "token " + std::to_string(token) +
                                    " is outside the vocabulary of " +
                                    std::to_string(vocabulary_count()));
}

}  // namespace cohort
