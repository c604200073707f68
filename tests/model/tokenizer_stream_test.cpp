#include "model/tokenizer_stream.hpp"

#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "model/expect_error.hpp"
#include "model/tokenizer_alphabet.hpp"
#include "model/utf8.hpp"

namespace cohort {
namespace {

/// One token per byte, so that every character past ASCII comes in parts, and a control token.
Tokenizer byte_tokenizer() {
  TokenizerSpec spec;
  for (unsigned byte = 0; byte < 256; ++byte) {
    spec.tokens.push_back(byte_level_character(static_cast<std::uint8_t>(byte)));
  }
  spec.tokens.push_back("<end>");
  spec.token_types.assign(257, TokenType::normal);
  spec.token_types[256] = TokenType::control;
  spec.pre = "smollm";
  return Tokenizer(spec);
}

TEST(StreamingDecoder, HoldsBackTheBeginningOfACharacter) {
  const Tokenizer tokenizer = byte_tokenizer();
  StreamingDecoder decoder(tokenizer);
  EXPECT_EQ(decoder.push('a'), "a");
  EXPECT_EQ(decoder.push(0xF0), "");
  EXPECT_EQ(decoder.push(0x9F), "");
  EXPECT_EQ(decoder.push(0x98), "");
  EXPECT_EQ(decoder.push(0x80), "\U0001F600");
  EXPECT_EQ(decoder.push(0xE2), "");
  EXPECT_EQ(decoder.push('b'), "\uFFFDb");
  EXPECT_EQ(decoder.push(0xC3), "");
  EXPECT_EQ(decoder.flush(), "\uFFFD");
  EXPECT_EQ(decoder.flush(), "");
}

TEST(StreamingDecoder, ControlTokensShowOnRequest) {
  const Tokenizer tokenizer = byte_tokenizer();
  EXPECT_EQ(StreamingDecoder(tokenizer).push(256), "");
  EXPECT_EQ(StreamingDecoder(tokenizer, ControlText::keep).push(256), "<end>");
  test::expect_error(ErrorCode::usage, "token 257 is outside",
                     [&] { StreamingDecoder(tokenizer).push(257); });
}

TEST(StreamingDecoder, JoinedOutputIsTheDecodedWhole) {
  const Tokenizer tokenizer = byte_tokenizer();
  std::mt19937 random(99);
  const std::vector<TokenId> edges{'a', 0x80, 0x9F, 0xBF, 0xC0, 0xC3, 0xE0, 0xED, 0xF0, 0xF4, 0xFF};
  for (int round = 0; round < 2000; ++round) {
    std::vector<TokenId> ids(random() % 20);
    for (TokenId& id : ids) {
      id =
          random() % 2 == 0 ? edges[random() % edges.size()] : static_cast<TokenId>(random() % 257);
    }
    for (const ControlText control : {ControlText::keep, ControlText::drop}) {
      StreamingDecoder decoder(tokenizer, control);
      std::string joined;
      for (const TokenId id : ids) {
        const std::string part = decoder.push(id);
        ASSERT_FALSE(first_invalid_utf8(part));
        joined += part;
      }
      joined += decoder.flush();
      ASSERT_EQ(joined, tokenizer.decode(ids, control));
    }
  }
}

}  // namespace
}  // namespace cohort
