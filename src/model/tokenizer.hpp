// Byte-level byte-pair tokeniser: text to token ids and back.
//
// A text is cut at special tokens, the rest into words, each word into bytes, and the bytes of a
// word are merged. A vocabulary need not have a token for every byte: bytes without one are left
// out, as the library does that these models were trained with, and counted.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "model/bpe.hpp"
#include "model/pretokenizer.hpp"
#include "model/token_id.hpp"
#include "model/tokenizer_special.hpp"

namespace cohort {

/// What an entry of the vocabulary is for; the numbers are those of model files.
enum class TokenType : std::int32_t {
  normal = 1,
  unknown = 2,
  control = 3,       ///< steers the model, e.g. the end of a turn; not part of what it says
  user_defined = 4,  ///< text that is one token wherever it occurs
  unused = 5,
};

/// All that a model file says about its tokeniser.
struct TokenizerSpec {
  std::vector<std::string> tokens;     // by id, bytes spelt in the byte-level alphabet
  std::vector<std::string> merges;     // "left right", first goes first
  std::vector<TokenType> token_types;  // by id
  std::string pre;                     // name of the pre-tokeniser
  std::optional<TokenId> bos;
  std::optional<TokenId> eos;
  std::optional<TokenId> unknown;
  std::optional<TokenId> padding;
  bool add_bos = false;  // a prompt that is not a chat begins with `bos`
};

/// A text as tokens.
struct Encoding {
  std::vector<TokenId> ids;
  std::size_t dropped_byte_count = 0;  // bytes that no token stands for
};

/// Whether decoded text shows control tokens, e.g. "<|im_end|>".
enum class ControlText : std::uint8_t { keep, drop };

/// Immutable; any number of threads may use one.
class Tokenizer {
 public:
  /// Throws: Error{corrupt} where `spec` contradicts itself, Error{unsupported} for an unknown
  /// pre-tokeniser or token type. Cost: linear in the vocabulary.
  explicit Tokenizer(const TokenizerSpec& spec);

  /// `text` as tokens; special tokens spelt out in it become those tokens. Adds none. Local.
  /// Throws: Error{usage} if `text` is not UTF-8. Cost: O(n log n) in its bytes.
  Encoding encode(std::string_view text) const;

  /// As `encode`, after the beginning-of-sequence token if the model asks for one. Local.
  Encoding encode_prompt(std::string_view text) const;

  /// The text of `ids`; bytes that form no character become U+FFFD. Local.
  /// Throws: Error{usage} for an id outside the vocabulary.
  std::string decode(std::span<const TokenId> ids, ControlText control = ControlText::keep) const;

  /// The bytes one token stands for, often only part of a character. Local.
  /// Throws: Error{usage} for an id outside the vocabulary.
  std::string_view bytes_of(TokenId token) const;

  /// Whether `token` steers the model instead of being part of what it says. Local.
  /// Throws: Error{usage} for an id outside the vocabulary.
  bool is_control(TokenId token) const;

  /// The token spelt `text` in the vocabulary, if there is one. Local.
  std::optional<TokenId> find(std::string_view text) const;

  std::size_t vocabulary_count() const noexcept { return bytes_.size(); }
  std::optional<TokenId> bos() const noexcept { return bos_; }
  std::optional<TokenId> eos() const noexcept { return eos_; }
  std::optional<TokenId> unknown() const noexcept { return unknown_; }
  std::optional<TokenId> padding() const noexcept { return padding_; }

 private:
  void take_tokens(const TokenizerSpec& spec);
  void take_byte_tokens();
  void take_merges(const TokenizerSpec& spec);
  void take_special_ids(const TokenizerSpec& spec);
  void check_token(TokenId token) const;
  void encode_into(std::string_view text, Encoding& encoding) const;

  Pretokenizer pretokenizer_;
  std::unordered_map<std::string, TokenId> vocabulary_;
  std::vector<std::string> bytes_;  // by id
  std::vector<TokenType> types_;    // by id
  std::array<std::optional<TokenId>, 256> byte_tokens_;
  MergeTable merges_;
  SpecialTokens special_;
  std::optional<TokenId> bos_;
  std::optional<TokenId> eos_;
  std::optional<TokenId> unknown_;
  std::optional<TokenId> padding_;
  bool add_bos_ = false;
};

}  // namespace cohort
