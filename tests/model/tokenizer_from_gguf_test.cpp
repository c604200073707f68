#include "model/tokenizer_from_gguf.hpp"

#include <cstdint>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/expect_error.hpp"
#include "model/gguf_builder.hpp"

namespace cohort {
namespace {

using test::expect_error;
using test::GgufBuilder;
using test::MemoryFile;

std::string i32_array(const std::vector<std::int32_t>& values) {
  std::string bytes = test::bytes_of(static_cast<std::uint32_t>(GgufValueType::i32)) +
                      test::bytes_of(std::uint64_t{values.size()});
  for (const std::int32_t value : values) bytes += test::bytes_of(value);
  return bytes;
}

GgufBuilder file_with_tokenizer() {
  GgufBuilder builder = test::one_layer_model();
  builder.set_string("tokenizer.ggml.model", "gpt2")
      .set_string("tokenizer.ggml.pre", "smollm")
      .set_strings("tokenizer.ggml.tokens", {"a", "b", "c", "ab", "<s>", "tool"})
      .set_strings("tokenizer.ggml.merges", {"a b"})
      .set("tokenizer.ggml.token_type", GgufValueType::array, i32_array({1, 1, 1, 1, 3, 4}))
      .set_u32("tokenizer.ggml.bos_token_id", 4)
      .set_u32("tokenizer.ggml.padding_token_id", 2);
  return builder;
}

Tokenizer load(const GgufBuilder& builder) {
  const MemoryFile file(builder.build());
  return load_tokenizer(GgufFile::open(file.path()));
}

TEST(TokenizerFromGguf, ReadsWhatTheFileSays) {
  GgufBuilder builder = file_with_tokenizer();
  builder.set("tokenizer.ggml.add_bos_token", GgufValueType::boolean, std::string(1, '\1'));
  const Tokenizer tokenizer = load(builder);
  EXPECT_EQ(tokenizer.vocabulary_count(), 6U);
  EXPECT_THAT(tokenizer.encode_prompt("abc<s>tool").ids, testing::ElementsAre(4, 3, 2, 4, 5));
  EXPECT_EQ(tokenizer.bos(), TokenId{4});
  EXPECT_EQ(tokenizer.padding(), TokenId{2});
  EXPECT_EQ(tokenizer.eos(), std::nullopt);
  EXPECT_EQ(tokenizer.unknown(), std::nullopt);
  EXPECT_TRUE(tokenizer.is_control(4));
  EXPECT_FALSE(tokenizer.is_control(5));
}

TEST(TokenizerFromGguf, WithoutTheKeyNoTokenIsPutInFront) {
  EXPECT_THAT(load(file_with_tokenizer()).encode_prompt("a").ids, testing::ElementsAre(0));
}

TEST(TokenizerFromGguf, MissingKeysAreNamed) {
  for (const std::string key :
       {"tokenizer.ggml.model", "tokenizer.ggml.pre", "tokenizer.ggml.tokens",
        "tokenizer.ggml.merges", "tokenizer.ggml.token_type"}) {
    GgufBuilder builder = file_with_tokenizer();
    builder.erase(key);
    expect_error(ErrorCode::corrupt, key, [&] { load(builder); });
  }
}

TEST(TokenizerFromGguf, OtherKindsOfTokeniserAreUnsupported) {
  GgufBuilder builder = file_with_tokenizer();
  builder.set_string("tokenizer.ggml.model", "llama");
  expect_error(ErrorCode::unsupported, "of the kind 'llama' (key tokenizer.ggml.model)",
               [&] { load(builder); });

  builder = file_with_tokenizer();
  builder.set("tokenizer.ggml.add_space_prefix", GgufValueType::boolean, std::string(1, '\1'));
  expect_error(ErrorCode::unsupported, "tokenizer.ggml.add_space_prefix", [&] { load(builder); });

  builder = file_with_tokenizer();
  builder.set_string("tokenizer.ggml.pre", "qwen2");
  expect_error(ErrorCode::unsupported, "pre-tokeniser 'qwen2'", [&] { load(builder); });
}

TEST(TokenizerFromGguf, DamageIsReportedWithTheFile) {
  GgufBuilder builder = file_with_tokenizer();
  builder.set_strings("tokenizer.ggml.merges", {"a c"});
  expect_error(ErrorCode::corrupt, "model file ", [&] { load(builder); });
  expect_error(ErrorCode::corrupt, "needs a token 'ac'", [&] { load(builder); });

  builder = file_with_tokenizer();
  builder.set_u32("tokenizer.ggml.bos_token_id", 6);
  expect_error(ErrorCode::corrupt, "tokenizer.ggml.bos_token_id is 6", [&] { load(builder); });
}

}  // namespace
}  // namespace cohort
