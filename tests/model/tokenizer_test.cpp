#include "model/tokenizer.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/expect_error.hpp"
#include "model/tokenizer_alphabet.hpp"

namespace cohort {
namespace {

using namespace std::string_view_literals;
using test::expect_error;
using testing::ElementsAre;

/// a=0 b=1 c=2 space=3, then ab=4 abc=5, the two bytes of e acute 6 7 and both 8, and specials.
TokenizerSpec small_spec() {
  TokenizerSpec spec;
  spec.tokens = {"a",      "b",      "c",      "\u0120",       "ab",
                 "abc",    "\u00C3", "\u00A9", "\u00C3\u00A9", "<end>",
                 "<end>>", "tool"};
  spec.merges = {"a b", "ab c", "\u00C3 \u00A9"};
  spec.token_types.assign(spec.tokens.size(), TokenType::normal);
  spec.token_types[9] = TokenType::control;
  spec.token_types[10] = TokenType::control;
  spec.token_types[11] = TokenType::user_defined;
  spec.pre = "smollm";
  spec.bos = 9;
  spec.eos = 10;
  return spec;
}

TEST(Tokenizer, MergesWithinWordsOnly) {
  const Tokenizer tokenizer(small_spec());
  EXPECT_THAT(tokenizer.encode("abc").ids, ElementsAre(5));
  EXPECT_THAT(tokenizer.encode("abcab").ids, ElementsAre(5, 4));
  EXPECT_THAT(tokenizer.encode("a bc").ids, ElementsAre(0, 3, 1, 2));
  EXPECT_THAT(tokenizer.encode("\u00E9").ids, ElementsAre(8));
  EXPECT_THAT(tokenizer.encode("").ids, ElementsAre());
}

TEST(Tokenizer, TheLongestSpecialTokenWins) {
  const Tokenizer tokenizer(small_spec());
  EXPECT_THAT(tokenizer.encode("a<end>b").ids, ElementsAre(0, 9, 1));
  EXPECT_THAT(tokenizer.encode("a<end>>b").ids, ElementsAre(0, 10, 1));
  EXPECT_THAT(tokenizer.encode("<end><end>").ids, ElementsAre(9, 9));
  EXPECT_THAT(tokenizer.encode("atoolb").ids, ElementsAre(0, 11, 1));
}

TEST(Tokenizer, BytesWithoutATokenAreLeftOutAndCounted) {
  const Tokenizer tokenizer(small_spec());
  const Encoding encoding = tokenizer.encode("a\u20ACb<en");
  EXPECT_THAT(encoding.ids, ElementsAre(0, 1));
  EXPECT_EQ(encoding.dropped_byte_count, 6U);  // the euro sign and "<en"
  // What they stood between becomes neighbours, as long as it is one word.
  EXPECT_THAT(tokenizer.encode("axb").ids, ElementsAre(4));
  EXPECT_EQ(tokenizer.encode("abc").dropped_byte_count, 0U);
}

TEST(Tokenizer, PromptBeginsWithBosWhereTheModelAsksForIt) {
  TokenizerSpec spec = small_spec();
  EXPECT_THAT(Tokenizer(spec).encode_prompt("a").ids, ElementsAre(0));
  spec.add_bos = true;
  EXPECT_THAT(Tokenizer(spec).encode_prompt("a").ids, ElementsAre(9, 0));
  EXPECT_THAT(Tokenizer(spec).encode("a").ids, ElementsAre(0));
}

TEST(Tokenizer, DecodesToText) {
  const Tokenizer tokenizer(small_spec());
  const std::vector<TokenId> ids{4, 3, 6, 7, 9, 11};
  EXPECT_EQ(tokenizer.decode(ids), "ab \u00E9<end>tool");
  EXPECT_EQ(tokenizer.decode(ids, ControlText::drop), "ab \u00E9tool");
  EXPECT_EQ(tokenizer.decode(std::vector<TokenId>{0, 7, 6}), "a\uFFFD\uFFFD");
  EXPECT_EQ(tokenizer.bytes_of(6), "\xC3");
  expect_error(ErrorCode::usage, "token 12 is outside the vocabulary of 12",
               [&] { tokenizer.decode(std::vector<TokenId>{12}); });
}

TEST(Tokenizer, AnswersForItsVocabulary) {
  const Tokenizer tokenizer(small_spec());
  EXPECT_EQ(tokenizer.vocabulary_count(), 12U);
  EXPECT_EQ(tokenizer.find("<end>"), TokenId{9});
  EXPECT_EQ(tokenizer.find("nothing"), std::nullopt);
  EXPECT_TRUE(tokenizer.is_control(9));
  EXPECT_FALSE(tokenizer.is_control(11));
  EXPECT_EQ(tokenizer.bos(), TokenId{9});
  EXPECT_EQ(tokenizer.eos(), TokenId{10});
  EXPECT_EQ(tokenizer.unknown(), std::nullopt);
  EXPECT_EQ(tokenizer.padding(), std::nullopt);
}

TEST(Tokenizer, TextThatIsNotUtf8IsWrongUse) {
  const Tokenizer tokenizer(small_spec());
  expect_error(ErrorCode::usage, "byte 0xFF at offset 2", [&] { tokenizer.encode("ab\xFF"); });
  expect_error(ErrorCode::usage, "byte 0xE2 at offset 0",
               [&] { tokenizer.encode_prompt("\xE2\x82"); });
  EXPECT_NO_THROW(tokenizer.encode("a\0b"sv));
}

struct Damage {
  const char* name;
  void (*apply)(TokenizerSpec&);
  ErrorCode code;
  const char* message;
};

constexpr ErrorCode kCorrupt = ErrorCode::corrupt;

TEST(Tokenizer, DamagedSpecIsRefused) {
  const std::vector<Damage> damages{
      Damage{"no_tokens", [](TokenizerSpec& s) { s.tokens.clear(); }, kCorrupt, "has no tokens"},
      Damage{"fewer_types", [](TokenizerSpec& s) { s.token_types.pop_back(); }, kCorrupt,
             "12 tokens but 11 token types"},
      Damage{"empty_token", [](TokenizerSpec& s) { s.tokens[3].clear(); }, kCorrupt,
             "token 3 is empty"},
      Damage{"not_utf8", [](TokenizerSpec& s) { s.tokens[3] = "x\xFF"; }, kCorrupt,
             "token 3, 'x\uFFFD', is not UTF-8"},
      Damage{"duplicate", [](TokenizerSpec& s) { s.tokens[11] = "ab"; }, kCorrupt,
             "tokens 4 and 11 are both 'ab'"},
      Damage{"missing_part", [](TokenizerSpec& s) { s.merges.push_back("d c"); }, kCorrupt,
             "merge 3 (tokenizer.ggml.merges), 'd c', needs a token 'd'"},
      Damage{"missing_result", [](TokenizerSpec& s) { s.merges.push_back("c a"); }, kCorrupt,
             "merge 3 (tokenizer.ggml.merges), 'c a', needs a token 'ca'"},
      Damage{"no_space", [](TokenizerSpec& s) { s.merges[1] = "abc"; }, kCorrupt,
             "merge 1 (tokenizer.ggml.merges), 'abc', is not two tokens"},
      Damage{"two_spaces", [](TokenizerSpec& s) { s.merges[1] = "a b c"; }, kCorrupt,
             "is not two tokens"},
      Damage{"twice", [](TokenizerSpec& s) { s.merges.push_back("a b"); }, kCorrupt,
             "occurs twice"},
      Damage{"bos_outside", [](TokenizerSpec& s) { s.bos = 12; }, kCorrupt,
             "tokenizer.ggml.bos_token_id is 12, outside the vocabulary of 12"},
      Damage{"eos_outside", [](TokenizerSpec& s) { s.eos = 99; }, kCorrupt, "eos_token_id is 99"},
      Damage{"no_bos",
             [](TokenizerSpec& s) {
               s.bos.reset();
               s.add_bos = true;
             },
             kCorrupt, "there is no tokenizer.ggml.bos_token_id"},
      Damage{"no_bytes",
             [](TokenizerSpec& s) {
               s.tokens = {"ab", "cd"};
               s.token_types.resize(2);
               s.merges.clear();
             },
             kCorrupt, "no token stands for a single byte"},
      Damage{"byte_type", [](TokenizerSpec& s) { s.token_types[2] = static_cast<TokenType>(6); },
             ErrorCode::unsupported, "token 2 is of type 6"},
      Damage{"unknown_pre", [](TokenizerSpec& s) { s.pre = "llama-bpe"; }, ErrorCode::unsupported,
             "'llama-bpe'"}};
  for (const Damage& damage : damages) {
    SCOPED_TRACE(damage.name);
    TokenizerSpec spec = small_spec();
    damage.apply(spec);
    expect_error(damage.code, damage.message, [&] { Tokenizer tokenizer(spec); });
  }
}

TEST(ByteLevelAlphabet, EachByteHasItsOwnCharacter) {
  for (unsigned byte = 0; byte < 256; ++byte) {
    const std::string character = byte_level_character(static_cast<std::uint8_t>(byte));
    EXPECT_EQ(byte_level_bytes(character), std::string(1, static_cast<char>(byte)));
  }
  EXPECT_EQ(byte_level_character(' '), "\u0120");
  EXPECT_EQ(byte_level_character(0xAD), "\u0143");
  EXPECT_EQ(byte_level_bytes(" "), std::nullopt);
  EXPECT_EQ(byte_level_bytes("\u0144"), std::nullopt);
}

}  // namespace
}  // namespace cohort
