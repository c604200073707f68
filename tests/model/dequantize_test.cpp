#include "model/dequantize.hpp"

#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <map>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "model/expect_error.hpp"
#include "model/gguf_builder.hpp"

namespace cohort {
namespace {

using test::expect_error;
using test::read_test_data;

struct GoldenTensor {
  GgufTensor tensor;
  std::vector<std::byte> data;
  std::vector<std::uint32_t> f32_bits;  // (rows, columns)
};

// What another implementation makes of noise in every type.
std::vector<GoldenTensor> golden_tensors() {
  std::vector<GoldenTensor> goldens;
  const auto document = nlohmann::json::parse(read_test_data("golden/dequantize.json"));
  for (const auto& entry : document.at("cases")) {
    GoldenTensor golden;
    const std::string hex = entry.at("data");
    for (std::size_t i = 0; i < hex.size(); i += 2) {
      golden.data.push_back(static_cast<std::byte>(std::stoul(hex.substr(i, 2), nullptr, 16)));
    }
    golden.f32_bits = entry.at("f32_bits").get<std::vector<std::uint32_t>>();
    golden.tensor.name = "golden";
    golden.tensor.type = gguf_type_from(entry.at("number")).value();
    golden.tensor.shape = {entry.at("rows"), entry.at("columns")};
    goldens.push_back(std::move(golden));
  }
  // Only now do the blocks stay where they are.
  for (GoldenTensor& golden : goldens) golden.tensor.data = golden.data;
  return goldens;
}

float half(std::span<const std::byte> data, std::size_t at) {
  const int bits = std::to_integer<int>(data[at]) | std::to_integer<int>(data[at + 1]) << 8;
  const int exponent = bits >> 10 & 31;
  const double fraction = (bits & 1023) / 1024.0;
  const double magnitude =
      exponent == 0 ? std::ldexp(fraction, -14) : std::ldexp(1 + fraction, exponent - 15);
  return static_cast<float>(bits & 0x8000 ? -magnitude : magnitude);
}

int bits_of(std::span<const std::byte> data, std::size_t at, int shift, int count) {
  return std::to_integer<int>(data[at]) >> shift & ((1 << count) - 1);
}

int signed_byte(std::span<const std::byte> data, std::size_t at) {
  return std::bit_cast<std::int8_t>(data[at]);
}

// Element `e` of one block, straight from the description of the format.
double element_of(GgufType type, std::span<const std::byte> block, std::size_t e) {
  switch (type) {
    case GgufType::f32: {
      float value = 0;
      std::memcpy(&value, block.data(), 4);
      return value;
    }
    case GgufType::f16: return half(block, 0);
    case GgufType::bf16: {
      std::uint16_t bits = 0;
      std::memcpy(&bits, block.data(), 2);
      return std::bit_cast<float>(std::uint32_t{bits} << 16);
    }
    case GgufType::q4_0:
      return half(block, 0) * (bits_of(block, 2 + e % 16, e < 16 ? 0 : 4, 4) - 8.0);
    case GgufType::q4_1:
      return half(block, 0) * double{1.0} * bits_of(block, 4 + e % 16, e < 16 ? 0 : 4, 4) +
             half(block, 2);
    case GgufType::q8_0: return half(block, 0) * double{1.0} * signed_byte(block, 2 + e);
    case GgufType::q6_k: {
      const std::size_t half_index = e / 128;
      const std::size_t in_half = e % 128;
      const int low = bits_of(block, 64 * half_index + in_half % 64, in_half < 64 ? 0 : 4, 4);
      const int high = bits_of(block, 128 + 32 * half_index + in_half % 32,
                               static_cast<int>(in_half / 32) * 2, 2);
      const double scale = half(block, 208) * double{1.0} * signed_byte(block, 192 + e / 16);
      return scale * (high * 16 + low - 32);
    }
  }
  return std::nan("");
}

TEST(Dequantize, EqualsAnotherImplementationInEveryType) {
  const std::vector<GoldenTensor> goldens = golden_tensors();
  ASSERT_EQ(goldens.size(), 7u);
  for (const GoldenTensor& golden : goldens) {
    std::vector<float> values(golden.f32_bits.size());
    dequantize_rows(golden.tensor, 0, golden.tensor.row_count(), values);
    for (std::size_t i = 0; i < values.size(); ++i) {
      EXPECT_EQ(std::bit_cast<std::uint32_t>(values[i]), golden.f32_bits[i])
          << describe_gguf_type(static_cast<std::uint32_t>(golden.tensor.type)) << " " << i;
    }
  }
}

TEST(Dequantize, EqualsTheFormatsDescriptionInEveryType) {
  for (const GoldenTensor& golden : golden_tensors()) {
    const GgufBlock block = block_of(golden.tensor.type);
    std::vector<float> values(golden.f32_bits.size());
    dequantize_rows(golden.tensor, 0, golden.tensor.row_count(), values);
    for (std::size_t i = 0; i < values.size(); ++i) {
      const auto bytes =
          golden.tensor.data.subspan(i / block.element_count * block.bytes, block.bytes);
      const double expected = element_of(golden.tensor.type, bytes, i % block.element_count);
      EXPECT_EQ(values[i], static_cast<float>(expected))
          << describe_gguf_type(static_cast<std::uint32_t>(golden.tensor.type)) << " " << i;
    }
  }
}

TEST(Dequantize, EveryHalfPrecisionNumberIsExact) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = f32_from_f16(static_cast<std::uint16_t>(bits));
    const std::uint32_t exponent = bits >> 10 & 31;
    EXPECT_EQ(std::signbit(value), bits >= 0x8000);
    if (exponent == 31) {
      EXPECT_EQ(std::isnan(value), (bits & 1023) != 0);
      EXPECT_EQ(std::isinf(value), (bits & 1023) == 0);
      continue;
    }
    const std::array bytes{static_cast<std::byte>(bits & 255), static_cast<std::byte>(bits >> 8)};
    EXPECT_EQ(value, half(bytes, 0)) << bits;
  }
}

TEST(Dequantize, AnyPartEqualsThatPartOfTheWhole) {
  for (const GoldenTensor& golden : golden_tensors()) {
    const std::uint64_t columns = golden.tensor.column_count();
    const std::uint64_t begins[] = {0, 1, columns / 4, columns / 3, columns - 1, columns};
    for (const std::uint64_t begin : begins) {
      for (const std::uint64_t end : begins) {
        if (end < begin) continue;
        for (std::uint64_t row = 0; row <= 3; ++row) {
          const TensorPart part{row, 3 - row, begin, end - begin};
          std::vector<float> values(part.row_count * part.column_count);
          dequantize_part(golden.tensor, part, values);
          for (std::size_t i = 0; i < values.size(); ++i) {
            const std::size_t at = (row + i / (end - begin)) * columns + begin + i % (end - begin);
            ASSERT_EQ(std::bit_cast<std::uint32_t>(values[i]), golden.f32_bits[at]);
          }
        }
      }
    }
  }
}

TEST(Dequantize, RefusesPartsOutsideTheTensor) {
  const std::vector<GoldenTensor> goldens = golden_tensors();
  const GgufTensor& tensor = goldens.front().tensor;
  const std::uint64_t columns = tensor.column_count();
  const std::uint64_t most = ~std::uint64_t{0};
  std::vector<float> out(columns);
  for (const std::uint64_t row : {std::uint64_t{3}, most}) {
    expect_error(ErrorCode::usage, "tensor 'golden': 1 rows from " + std::to_string(row),
                 [&] { dequantize_rows(tensor, row, 1, out); });
  }
  expect_error(ErrorCode::usage, "rows from 1 asked for, it has 3",
               [&] { dequantize_rows(tensor, 1, most, out); });
  expect_error(ErrorCode::usage, "columns from 1 asked for, it has", [&] {
    dequantize_part(tensor, {0, 1, 1, columns}, out);
  });
  expect_error(ErrorCode::usage, "the target has room for",
               [&] { dequantize_rows(tensor, 0, 2, out); });
}

}  // namespace
}  // namespace cohort
