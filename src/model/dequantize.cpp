#include "model/dequantize.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <string>

#include <cohort/error.hpp>

#include "base/bf16.hpp"
#include "model/gguf_cursor.hpp"

namespace cohort {
namespace {

// Each *_block function writes the values of one block at `block` to `out`.
// Scales are f16 and quants at most 8 bits, so every product below is exact in
// f32 and no order of factors matters.

std::uint16_t load_u16(const std::byte* at) noexcept {
  std::uint16_t bits;
  std::memcpy(&bits, at, sizeof(bits));
  return bits;
}

float load_f16(const std::byte* at) noexcept {
  return f32_from_f16(load_u16(at));
}

int unsigned_of(std::byte byte) noexcept {
  return std::to_integer<int>(byte);
}
int signed_of(std::byte byte) noexcept {
  return std::to_integer<std::int8_t>(byte);
}

void f16_block(const std::byte* block, float* out) noexcept {
  *out = load_f16(block);
}
void bf16_block(const std::byte* block, float* out) noexcept {
  *out = f32_from_bf16(load_u16(block));
}

// f16 scale, 16 bytes: low halves are elements 0 to 15, high halves 16 to 31;
// zero is at 8.
void q4_0_block(const std::byte* block, float* out) noexcept {
  const float scale = load_f16(block);
  const std::byte* quants = block + 2;
  for (int i = 0; i < 16; ++i) {
    out[i] = scale * static_cast<float>((unsigned_of(quants[i]) & 15) - 8);
    out[i + 16] = scale * static_cast<float>((unsigned_of(quants[i]) >> 4) - 8);
  }
}

// f16 scale, f16 minimum, 16 bytes in the order of q4_0.
void q4_1_block(const std::byte* block, float* out) noexcept {
  const float scale = load_f16(block);
  const float minimum = load_f16(block + 2);
  const std::byte* quants = block + 4;
  for (int i = 0; i < 16; ++i) {
    out[i] = scale * static_cast<float>(unsigned_of(quants[i]) & 15) + minimum;
    out[i + 16] = scale * static_cast<float>(unsigned_of(quants[i]) >> 4) + minimum;
  }
}

// f16 scale, 32 signed bytes.
void q8_0_block(const std::byte* block, float* out) noexcept {
  const float scale = load_f16(block);
  const std::byte* quants = block + 2;
  for (int i = 0; i < 32; ++i) out[i] = scale * static_cast<float>(signed_of(quants[i]));
}

// 128 bytes of low four bits, 64 bytes of high two bits, 16 signed scales, f16
// scale of scales. Element e = 128 half + 32 quarter + lane: its low bits lie
// in byte 64 half + 32 (quarter % 2) + lane, the upper four for quarters 2 and
// 3; its high bits in byte 32 half + lane at 2 quarter; zero is at 32. Each 16
// elements share a scale.
void q6_k_block(const std::byte* block, float* out) noexcept {
  const std::byte* scales = block + 192;
  const float super_scale = load_f16(block + 208);
  for (int half = 0; half < 2; ++half) {
    const std::byte* high_bits = block + 128 + 32 * half;
    for (int quarter = 0; quarter < 4; ++quarter) {
      const std::byte* low_bits = block + 64 * half + 32 * (quarter % 2);
      const int low_shift = quarter < 2 ? 0 : 4;
      for (int lane = 0; lane < 32; ++lane) {
        const int element = 128 * half + 32 * quarter + lane;
        const int low = (unsigned_of(low_bits[lane]) >> low_shift) & 15;
        const int high = (unsigned_of(high_bits[lane]) >> (2 * quarter)) & 3;
        const float scale = super_scale * static_cast<float>(signed_of(scales[element / 16]));
        out[element] = scale * static_cast<float>((high << 4 | low) - 32);
      }
    }
  }
}

// Writes elements [begin, end) of one row. Blocks that lie whole in the range
// go straight to `out`.
template <typename BlockFunction>
void convert_range(const std::byte* row, GgufBlock block, std::uint64_t begin, std::uint64_t end,
                   float* out, BlockFunction convert_block) {
  std::array<float, kGgufBlockElementsMax> whole;
  for (std::uint64_t at = begin; at < end;) {
    const std::uint64_t index = at / block.element_count;
    const std::uint64_t first = index * block.element_count;
    const std::byte* source = row + index * block.bytes;
    const std::uint64_t stop = std::min(end, first + block.element_count);
    if (at == first && stop == first + block.element_count) {
      convert_block(source, out);
    } else {
      convert_block(source, whole.data());
      std::copy(whole.data() + (at - first), whole.data() + (stop - first), out);
    }
    out += stop - at;
    at = stop;
  }
}

void convert_range(GgufType type, const std::byte* row, std::uint64_t begin, std::uint64_t end,
                   float* out) {
  // A lambda each: the loop must know its block function to inline it.
  const auto convert = [&](auto block_function) {
    convert_range(row, block_of(type), begin, end, out, block_function);
  };
  switch (type) {
    case GgufType::f32: {
      std::memcpy(out, row + begin * sizeof(float), (end - begin) * sizeof(float));
      return;
    }
    case GgufType::f16: return convert([](auto* b, float* o) { f16_block(b, o); });
    case GgufType::bf16: return convert([](auto* b, float* o) { bf16_block(b, o); });
    case GgufType::q4_0: return convert([](auto* b, float* o) { q4_0_block(b, o); });
    case GgufType::q4_1: return convert([](auto* b, float* o) { q4_1_block(b, o); });
    case GgufType::q8_0: return convert([](auto* b, float* o) { q8_0_block(b, o); });
    case GgufType::q6_k: return convert([](auto* b, float* o) { q6_k_block(b, o); });
  }
}

[[noreturn]] void refuse(const GgufTensor& tensor, const std::string& problem) {
  throw Error(ErrorCode::usage, "tensor " + quoted(tensor.name) + ": " + problem, std::nullopt,
              "load");
}

void check_range(const GgufTensor& tensor, std::string_view what, std::uint64_t begin,
                 std::uint64_t count, std::uint64_t count_max) {
  if (begin > count_max || count > count_max - begin) {
    refuse(tensor, std::to_string(count) + " " + std::string(what) + " from " +
                       std::to_string(begin) + " asked for, it has " + std::to_string(count_max));
  }
}

}  // namespace

float f32_from_f16(std::uint16_t bits) noexcept {
  const std::uint32_t sign = std::uint32_t{bits} >> 15 << 31;
  const std::uint32_t exponent = bits >> 10 & 31u;
  const std::uint32_t fraction = bits & 1023u;
  if (exponent == 0) {
    // Zero or denormal: fraction x 2^-24 is exact in f32.
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(magnitude) | sign);
  }
  const std::uint32_t wide_exponent = exponent == 31 ? 255u : exponent + (127 - 15);
  return std::bit_cast<float>(sign | wide_exponent << 23 | fraction << 13);
}

void dequantize_rows(const GgufTensor& tensor, std::uint64_t row_begin, std::uint64_t row_count,
                     std::span<float> out) {
  dequantize_part(tensor, {row_begin, row_count, 0, tensor.column_count()}, out);
}

void dequantize_part(const GgufTensor& tensor, const TensorPart& part, std::span<float> out) {
  check_range(tensor, "rows", part.row_begin, part.row_count, tensor.row_count());
  check_range(tensor, "columns", part.column_begin, part.column_count, tensor.column_count());
  if (out.size() != part.row_count * part.column_count) {
    refuse(tensor, "the target has room for " + std::to_string(out.size()) + " values, " +
                       std::to_string(part.row_count * part.column_count) + " asked for");
  }
  if (out.empty()) return;  // an empty target may have no address
  const std::uint64_t row_bytes = tensor.row_bytes();
  const std::byte* row = tensor.data.data() + part.row_begin * row_bytes;
  const std::uint64_t column_end = part.column_begin + part.column_count;
  for (std::uint64_t i = 0; i < part.row_count; ++i, row += row_bytes) {
    convert_range(tensor.type, row, part.column_begin, column_end,
                  out.data() + i * part.column_count);
  }
}

}  // namespace cohort
