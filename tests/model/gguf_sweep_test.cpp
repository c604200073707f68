// Damaged files: whatever a file holds, opening and reading it ends in a value or in one Error.
#include <random>

#include <gtest/gtest.h>

#include "model/dequantize.hpp"
#include "model/expect_error.hpp"
#include "model/gguf_builder.hpp"
#include "model/gguf_parse.hpp"
#include "model/model_config.hpp"

namespace cohort {
namespace {

using test::MemoryFile;
using test::one_layer_model;
using test::read_test_data;

enum class Outcome { read, refused };

// The bytes lie in a block of exactly their size, so that an address sanitizer sees a byte too far.
Outcome parse(const std::string& content) {
  const std::vector<char> exact(content.begin(), content.end());
  try {
    const GgufContent parsed = parse_gguf(std::as_bytes(std::span(exact)), "swept");
    for (const GgufTensor& tensor : parsed.tensors) {
      std::vector<float> row(tensor.column_count());
      dequantize_rows(tensor, tensor.row_count() - 1, 1, row);
    }
    return Outcome::read;
  } catch (const Error& error) {
    EXPECT_TRUE(error.code() == ErrorCode::corrupt || error.code() == ErrorCode::unsupported)
        << error.what();
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
    return Outcome::refused;
  }
}

Outcome open_model(const MemoryFile& file) {
  try {
    const GgufFile opened = GgufFile::open(file.path());
    model_config_from(opened);
    opened.require_strings("tokenizer.ggml.tokens");
    return Outcome::read;
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), 2) << error.what();
    return Outcome::refused;
  }
}

TEST(GgufSweep, EveryCutIsRefused) {
  const std::string whole = one_layer_model().build();
  ASSERT_EQ(parse(whole), Outcome::read);
  for (std::size_t length = 0; length < whole.size(); ++length) {
    EXPECT_EQ(parse(whole.substr(0, length)), Outcome::refused) << length << " bytes";
  }
}

TEST(GgufSweep, EveryFlippedByteIsReadOrRefused) {
  const std::string whole = one_layer_model().build();
  const MemoryFile file;
  std::size_t refused_count = 0;
  for (std::size_t at = 0; at < whole.size(); ++at) {
    for (const int flip : {0x01, 0x80, 0xff}) {
      std::string damaged = whole;
      damaged[at] = static_cast<char>(damaged[at] ^ flip);
      const Outcome parsed = parse(damaged);
      file.write(damaged);
      const Outcome opened = open_model(file);
      EXPECT_TRUE(parsed == Outcome::read || opened == Outcome::refused) << "byte " << at;
      if (opened == Outcome::refused) ++refused_count;
    }
  }
  // Most of what comes before the data decides something.
  EXPECT_GT(refused_count, 1000u);
}

TEST(GgufSweep, CutsOfAWholeModelAreRefused) {
  const std::string whole = read_test_data("tiny/tiny.gguf");
  constexpr std::size_t kHeaderBytes = 10400;
  for (std::size_t length = 0; length < whole.size(); length += length < kHeaderBytes ? 7 : 997) {
    EXPECT_EQ(parse(whole.substr(0, length)), Outcome::refused) << length << " bytes";
  }
}

TEST(GgufSweep, NoiseBehindAGoodBeginIsReadOrRefused) {
  const std::string whole = one_layer_model().build();
  std::mt19937 generator(5);
  for (int round = 0; round < 2000; ++round) {
    std::string damaged = whole;
    // The magic number and the version stay, or all rounds would end there.
    for (int i = 0; i < 4; ++i) {
      damaged[8 + generator() % (damaged.size() - 8)] = static_cast<char>(generator());
    }
    parse(damaged);
    std::string noise(generator() % 512, '\0');
    for (char& byte : noise) byte = static_cast<char>(generator());
    EXPECT_EQ(parse(whole.substr(0, 24) + noise), Outcome::refused);
  }
}

}  // namespace
}  // namespace cohort
