// The tokeniser against the `tokenizers` library: see scripts/tools/make_tokenizer_golden.py.
#include <cstdlib>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "model/golden_file.hpp"
#include "model/tokenizer.hpp"
#include "model/tokenizer_from_gguf.hpp"
#include "model/tokenizer_stream.hpp"

namespace cohort {
namespace {

using test::read_tokenizer_golden;
using test::TokenizerGolden;

void expect_equal(const Tokenizer& tokenizer, const TokenizerGolden& golden) {
  ASSERT_EQ(tokenizer.vocabulary_count(), golden.token_count);
  std::size_t round_trip_count = 0;
  for (const TokenizerGolden::Case& expected : golden.encode) {
    const Encoding encoding = tokenizer.encode(expected.text);
    EXPECT_EQ(encoding.ids, expected.ids) << testing::PrintToString(expected.text);
    if (encoding.dropped_byte_count > 0) continue;
    EXPECT_EQ(tokenizer.decode(encoding.ids), expected.text);
    ++round_trip_count;
  }
  EXPECT_GT(round_trip_count * 10, golden.encode.size() * 8);  // most texts lose nothing

  for (const TokenizerGolden::Case& expected : golden.decode) {
    EXPECT_EQ(tokenizer.decode(expected.ids), expected.text);
    StreamingDecoder decoder(tokenizer, ControlText::keep);
    std::string streamed;
    for (const TokenId id : expected.ids) streamed += decoder.push(id);
    EXPECT_EQ(streamed + decoder.flush(), expected.text);
  }
}

TEST(TokenizerGolden, SmallVocabulary) {
  const TokenizerGolden golden = read_tokenizer_golden("small.json");
  ASSERT_GT(golden.encode.size(), 100U);
  ASSERT_GT(golden.decode.size(), 50U);
  expect_equal(Tokenizer(golden.spec), golden);
}

// The vocabulary that model.json was made with comes with the model file.
TEST(TokenizerGolden, ModelVocabulary) {
  const char* path = std::getenv("COHORT_MODEL");
  if (path == nullptr) GTEST_SKIP() << "COHORT_MODEL names no model file";
  const TokenizerGolden golden = read_tokenizer_golden("model.json");
  ASSERT_GT(golden.encode.size(), 400U);
  ASSERT_GT(golden.decode.size(), 50U);
  expect_equal(load_tokenizer(GgufFile::open(path)), golden);
}

// One word of a megabyte, a megabyte of words, and a megabyte of almost special tokens.
TEST(TokenizerGolden, LargeTextsComeBackWhole) {
  const Tokenizer tokenizer(read_tokenizer_golden("small.json").spec);
  for (const std::string part :
       {"ab", "the end. ", " \n", "<|im_star", "<|im_end|>", "\u4E16", "7"}) {
    std::string text;
    while (text.size() < 1'000'000) text += part;
    EXPECT_EQ(tokenizer.decode(tokenizer.encode(text).ids), text) << part;
  }
}

}  // namespace
}  // namespace cohort
