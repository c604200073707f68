#include "model/gguf.hpp"

#include <cstring>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/expect_error.hpp"
#include "model/gguf_builder.hpp"

namespace cohort {
namespace {

using test::bytes_of;
using test::expect_error;
using test::GgufBuilder;
using test::MemoryFile;
using test::one_layer_model;

void expect_refused(ErrorCode code, const std::string& text, const std::string& content) {
  const MemoryFile file(content);
  expect_error(code, text, [&] { GgufFile::open(file.path()); });
  // Every message says which file it is about.
  expect_error(code, file.path(), [&] { GgufFile::open(file.path()); });
}

void expect_refused(ErrorCode code, const std::string& text, const GgufBuilder& builder) {
  expect_refused(code, text, builder.build());
}

TEST(Gguf, ReadsEveryKindOfValue) {
  GgufBuilder builder;
  builder.set("u8", GgufValueType::u8, bytes_of<std::uint8_t>(200))
      .set("i8", GgufValueType::i8, bytes_of<std::int8_t>(-100))
      .set("u16", GgufValueType::u16, bytes_of<std::uint16_t>(60000))
      .set("i16", GgufValueType::i16, bytes_of<std::int16_t>(30000))
      .set_u32("u32", 4000000000)
      .set("i32", GgufValueType::i32, bytes_of<std::int32_t>(7))
      .set_f32("f32", 0.1f)
      .set("true", GgufValueType::boolean, bytes_of<std::uint8_t>(1))
      .set("false", GgufValueType::boolean, bytes_of<std::uint8_t>(0))
      .set_string("string", "text")
      .set("u64", GgufValueType::u64, bytes_of<std::uint64_t>(9))
      .set("i64", GgufValueType::i64, bytes_of<std::int64_t>(-9))
      .set("f64", GgufValueType::f64, bytes_of(0.5))
      .set_strings("strings", {"one", "", "three"})
      .set("i32s", GgufValueType::array,
           bytes_of<std::uint32_t>(5) + bytes_of<std::uint64_t>(2) + bytes_of<std::int32_t>(-1) +
               bytes_of<std::int32_t>(3));
  const MemoryFile content(builder.build());
  const GgufFile file = GgufFile::open(content.path());
  EXPECT_EQ(file.version(), 3u);
  EXPECT_EQ(file.metadata().size(), 15u);
  EXPECT_EQ(file.require_u32("u8"), 200u);
  EXPECT_EQ(file.require_u32("u16"), 60000u);
  EXPECT_EQ(file.require_u32("i16"), 30000u);
  EXPECT_EQ(file.require_u32("u32"), 4000000000u);
  EXPECT_EQ(file.require_u32("i32"), 7u);
  EXPECT_EQ(file.require_u32("u64"), 9u);
  EXPECT_EQ(file.require_f32("f32"), 0.1f);
  EXPECT_EQ(file.require_f32("f64"), 0.5f);
  EXPECT_TRUE(file.require_bool("true"));
  EXPECT_FALSE(file.require_bool("false"));
  EXPECT_EQ(file.require_string("string"), "text");
  EXPECT_THAT(file.require_strings("strings"), testing::ElementsAre("one", "", "three"));
  EXPECT_THAT(file.require_i32s("i32s"), testing::ElementsAre(-1, 3));
  expect_error(ErrorCode::corrupt, "i8 is -100 (i8), not an integer from 0",
               [&] { file.require_u32("i8"); });
}

TEST(Gguf, NamesMissingKeysAndWrongKinds) {
  const MemoryFile content(one_layer_model().build());
  const GgufFile file = GgufFile::open(content.path());
  expect_error(ErrorCode::corrupt, "metadata key llama.nothing is missing",
               [&] { file.require_u32("llama.nothing"); });
  expect_error(ErrorCode::corrupt, "general.architecture is of type string, not an integer",
               [&] { file.require_u32("general.architecture"); });
  expect_error(ErrorCode::corrupt, "llama.block_count is 1 (u32), not a floating-point number",
               [&] { file.find_f32("llama.block_count"); });
  expect_error(ErrorCode::corrupt, "tokenizer.ggml.tokens is an array of string, not an array of",
               [&] { file.require_i32s("tokenizer.ggml.tokens"); });
  expect_error(ErrorCode::corrupt, "not a bool", [&] { file.find_bool("llama.block_count"); });
  expect_error(ErrorCode::corrupt, "not a string", [&] { file.find_string("llama.block_count"); });
  expect_error(ErrorCode::corrupt, "tensor 'blk.1.attn_q.weight' is missing",
               [&] { file.tensor("blk.1.attn_q.weight"); });
  EXPECT_EQ(file.find_u32("llama.nothing"), std::nullopt);
  EXPECT_EQ(file.find_f32("llama.nothing"), std::nullopt);
  EXPECT_EQ(file.find_bool("llama.nothing"), std::nullopt);
  EXPECT_EQ(file.find_string("llama.nothing"), std::nullopt);
  EXPECT_EQ(file.find_tensor("nothing"), nullptr);
}

TEST(Gguf, FindsTensorsWithShapeAndData) {
  const MemoryFile content(one_layer_model().build());
  GgufFile opened = GgufFile::open(content.path());
  const GgufFile file = std::move(opened);  // views outlive the move
  ASSERT_EQ(file.tensors().size(), 11u);
  const GgufTensor& tensor = file.tensor("blk.0.ffn_down.weight");
  EXPECT_EQ(tensor.name, "blk.0.ffn_down.weight");
  EXPECT_EQ(tensor.type, GgufType::f32);
  EXPECT_THAT(tensor.shape, testing::ElementsAre(8, 12));
  EXPECT_EQ(tensor.row_count(), 8u);
  EXPECT_EQ(tensor.column_count(), 12u);
  ASSERT_EQ(tensor.data.size(), 8u * 12u * 4u);
  float last = 0;
  std::memcpy(&last, tensor.data.data() + 95 * 4, 4);
  EXPECT_EQ(last, 9 + 95.0f / 1024);
  EXPECT_EQ(file.tensor("output_norm.weight").row_count(), 1u);
}

TEST(Gguf, ReadsVersionTwoAndOtherAlignments) {
  GgufBuilder builder = one_layer_model();
  builder.version = 2;
  builder.alignment = 128;
  builder.set_u32("general.alignment", 128);
  const MemoryFile content(builder.build());
  const GgufFile file = GgufFile::open(content.path());
  EXPECT_EQ(file.version(), 2u);
  EXPECT_EQ(file.tensor("blk.0.attn_k.weight").data.size(), 128u);
}

TEST(Gguf, RefusesWhatIsNoReadableFile) {
  expect_error(ErrorCode::usage, "cannot be opened: No such file",
               [] { GgufFile::open("/nonexistent/model.gguf"); });
  expect_error(ErrorCode::usage, "is not a regular file", [] { GgufFile::open("/tmp"); });
  expect_refused(ErrorCode::corrupt, "is empty", std::string());
  expect_refused(ErrorCode::corrupt, "is not a GGUF file", std::string(1000, 'x'));
  expect_refused(ErrorCode::corrupt, "magic number at byte 0 needs 4 bytes, the file has 3 left",
                 std::string("GGU"));
}

TEST(Gguf, RefusesOtherVersionsAndByteOrders) {
  GgufBuilder builder = one_layer_model();
  for (const std::uint32_t version : {0u, 1u, 4u, 99u}) {
    builder.version = version;
    expect_refused(ErrorCode::unsupported, "GGUF version " + std::to_string(version), builder);
  }
  builder.version = 0x03000000;
  expect_refused(ErrorCode::unsupported, "big-endian", builder);
}

TEST(Gguf, RefusesCountsAndLengthsThatCannotBe) {
  const std::string head = bytes_of(0x46554747u) + bytes_of(3u);
  const std::uint64_t most = std::numeric_limits<std::uint64_t>::max();
  expect_refused(ErrorCode::corrupt, "the tensor count is 18446744073709551615",
                 head + bytes_of(most) + bytes_of(std::uint64_t{0}));
  expect_refused(ErrorCode::corrupt, "the metadata count is 18446744073709551615",
                 head + bytes_of(std::uint64_t{0}) + bytes_of(most));
  expect_refused(ErrorCode::corrupt, "the key of metadata entry 0 at byte 32 needs 184467440737",
                 head + bytes_of(std::uint64_t{0}) + bytes_of(std::uint64_t{1}) + bytes_of(most));
  for (const std::uint64_t count : {most, most / 4 + 2, std::uint64_t{1} << 40}) {
    expect_refused(ErrorCode::corrupt, "the value of 'list'",
                   GgufBuilder().set("list", GgufValueType::array, bytes_of(5u) + bytes_of(count)));
    expect_refused(ErrorCode::corrupt, "the value of 'list'",
                   GgufBuilder().set("list", GgufValueType::array, bytes_of(8u) + bytes_of(count)));
  }
}

TEST(Gguf, RefusesBadMetadata) {
  expect_refused(ErrorCode::corrupt, "metadata key 'general.architecture' occurs twice",
                 one_layer_model().append("general.architecture", GgufValueType::u8, "x"));
  expect_refused(ErrorCode::corrupt, "the type of 'odd' is 13, which is no kind of value",
                 GgufBuilder().set("odd", static_cast<GgufValueType>(13), "x"));
  expect_refused(ErrorCode::corrupt, "'flag' is 2, a bool is 0 or 1",
                 GgufBuilder().set("flag", GgufValueType::boolean, "\x02"));
  expect_refused(
      ErrorCode::unsupported, "'nested' is an array of arrays",
      GgufBuilder().set("nested", GgufValueType::array, bytes_of(9u) + bytes_of(std::uint64_t{1})));
  expect_refused(ErrorCode::corrupt, "a metadata key has 0 bytes", GgufBuilder().set_u32("", 1));
  expect_refused(ErrorCode::corrupt, "'a\\x0a\\x1b' is 7",
                 GgufBuilder().set("a\n\x1b", GgufValueType::boolean, "\x07"));
  for (const std::uint32_t alignment : {0u, 4u, 33u, 1u << 21}) {
    expect_refused(ErrorCode::corrupt, "general.alignment is not a power of two",
                   one_layer_model().set_u32("general.alignment", alignment));
  }
}

TEST(Gguf, RefusesBadTensors) {
  const std::string norm = "output_norm.weight";
  expect_refused(ErrorCode::corrupt, "tensor 'output_norm.weight' occurs twice",
                 one_layer_model().append_tensor(norm, {8}));
  expect_refused(ErrorCode::unsupported,
                 "tensor 'output_norm.weight' has type Q4_K (12); the types",
                 one_layer_model().set_tensor(norm, {256}, 12));
  expect_refused(ErrorCode::unsupported,
                 "has type 77; the types that can be read are F32, F16, Q4_0",
                 one_layer_model().set_tensor(norm, {256}, 77));
  expect_refused(ErrorCode::corrupt, "has rows of 33 elements, its type has blocks of 32",
                 one_layer_model().set_tensor(norm, {33}, 3));
  expect_refused(ErrorCode::corrupt, "has 0 dimensions", one_layer_model().set_tensor(norm, {}));
  expect_refused(ErrorCode::corrupt, "has 5 dimensions",
                 one_layer_model().set_tensor(norm, {1, 1, 1, 1, 1}));
  expect_refused(ErrorCode::corrupt, "dimension 0 of tensor 'output_norm.weight' is 0",
                 one_layer_model().set_tensor(norm, {0}));
  // Products that wrap round to a small number must not pass.
  const std::uint64_t half = std::uint64_t{1} << 32;
  expect_refused(ErrorCode::corrupt, "is 4294967296, which this file cannot hold",
                 one_layer_model().set_tensor(norm, {half, half}, 0, "data"));
}

TEST(Gguf, RefusesDataOutOfPlace) {
  const std::string norm = "output_norm.weight";
  expect_refused(ErrorCode::corrupt, "begins at offset 3, not a multiple of the alignment of 32",
                 one_layer_model().set_offset(norm, 3));
  expect_refused(ErrorCode::corrupt, "needs 32 bytes at offset 1048576, the file has",
                 one_layer_model().set_offset(norm, 1u << 20));
  expect_refused(ErrorCode::corrupt, "needs 32 bytes at offset 9223372036854775776",
                 one_layer_model().set_offset(norm, 0x7fffffffffffffe0));
  expect_refused(ErrorCode::corrupt, "'token_embd.weight' and 'output_norm.weight' overlap",
                 one_layer_model().set_offset(norm, 32));
  const std::string whole = one_layer_model().build();
  expect_refused(ErrorCode::corrupt, "is it complete?", whole.substr(0, whole.size() - 1));
}

}  // namespace
}  // namespace cohort
