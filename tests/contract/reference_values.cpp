#include "contract/reference_values.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <stdexcept>

namespace cohort::contract {
namespace {

std::uint64_t mix(std::uint64_t value) {
  value += 0x9E3779B97F4A7C15U;
  value = (value ^ (value >> 30U)) * 0xBF58476D1CE4E5B9U;
  value = (value ^ (value >> 27U)) * 0x94D049BB133111EBU;
  return value ^ (value >> 31U);
}

/// What one step of an f16's fraction is worth.
double f16_step(int exponent) {
  return 1.0 / static_cast<double>(1 << (10 - std::max(exponent, -14)));  // at most 2^10 is used
}

float float_of(std::uint64_t bits, DType dtype) {
  if (dtype == DType::f16) {
    const int exponent = static_cast<int>(bits >> 10U & 0x1FU);  // no infinity among the test data
    const double steps = static_cast<double>(bits & 0x3FFU) + (exponent > 0 ? 1024 : 0);
    const double magnitude = steps * f16_step(exponent - 15);
    return static_cast<float>((bits & 0x8000U) != 0 ? -magnitude : magnitude);
  }
  if (dtype == DType::f32) return std::bit_cast<float>(static_cast<std::uint32_t>(bits));
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16U);
}

std::uint16_t round_to_bf16(float value) {
  std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  bits += 0x7FFFU + ((bits >> 16U) & 1U);  // no NaN among the test data
  return static_cast<std::uint16_t>(bits >> 16U);
}

std::uint16_t round_to_f16(float value) {
  const double magnitude = std::abs(static_cast<double>(value));  // at most 128 among the test data
  const auto f32_exponent = static_cast<int>(std::bit_cast<std::uint32_t>(value) >> 23U & 0xFFU);
  const int exponent = std::max(f32_exponent - 127, -14);
  // Doubles around 2^52 are whole: adding it rounds, ties to even.
  const double steps = (magnitude / f16_step(exponent) + 0x1p52) - 0x1p52;
  // The leading one of a normal number is worth one exponent; a carry is another.
  const auto bits = static_cast<unsigned>(steps) + static_cast<unsigned>(exponent + 14) * 1024U;
  return static_cast<std::uint16_t>(bits | (std::signbit(value) ? 0x8000U : 0U));
}

std::uint64_t rounded_bits(float value, DType dtype) {
  if (dtype == DType::f32) return std::bit_cast<std::uint32_t>(value);
  return dtype == DType::bf16 ? round_to_bf16(value) : round_to_f16(value);
}

template <typename T>
T combine(T a, T b, ReduceOp op) {
  switch (op) {
    case ReduceOp::sum: return static_cast<T>(a + b);
    case ReduceOp::min: return std::min(a, b);
    case ReduceOp::max: return std::max(a, b);
  }
  return a;
}

bool is_real(DType dtype) {
  return dtype == DType::f32 || dtype == DType::bf16 || dtype == DType::f16;
}

}  // namespace

std::uint64_t element_bits(std::uint64_t call_seed, WorldRank rank, std::size_t index,
                           DType dtype) {
  const std::uint64_t random = mix(call_seed ^ mix(rank.index() * 1000003U + index));
  if (dtype == DType::i32) return random & 0xFFFFFFFFU;
  if (dtype == DType::i64) return random;
  if (bytes_of(dtype) == 1) return random & 0xFFU;
  const double value = static_cast<double>(static_cast<std::int64_t>(random >> 20U) - (1LL << 43)) /
                       static_cast<double>(1LL << 40);  // -8 to 8
  return rounded_bits(static_cast<float>(value), dtype);
}

void fill(void* data, std::uint64_t call_seed, WorldRank rank, std::size_t first, std::size_t count,
          DType dtype) {
  auto* bytes = static_cast<std::byte*>(data);
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint64_t bits = element_bits(call_seed, rank, first + i, dtype);
    std::memcpy(bytes + i * bytes_of(dtype), &bits, bytes_of(dtype));
  }
}

std::uint64_t reduced_bits(std::uint64_t call_seed, std::span<const WorldRank> ranks,
                           std::size_t index, DType dtype, ReduceOp op) {
  std::uint64_t bits = element_bits(call_seed, ranks[0], index, dtype);
  if (is_real(dtype)) {
    float sum = float_of(bits, dtype);
    for (const WorldRank rank : ranks.subspan(1)) {
      sum = combine(sum, float_of(element_bits(call_seed, rank, index, dtype), dtype), op);
    }
    return rounded_bits(sum, dtype);
  }
  for (const WorldRank rank : ranks.subspan(1)) {
    const std::uint64_t next = element_bits(call_seed, rank, index, dtype);
    if (op == ReduceOp::sum) {
      bits += next;
    } else if (dtype == DType::u8) {
      bits = combine(bits, next, op);
    } else if (dtype == DType::i64) {
      bits = static_cast<std::uint64_t>(
          combine(static_cast<std::int64_t>(bits), static_cast<std::int64_t>(next), op));
    } else {
      bits = static_cast<std::uint32_t>(
          combine(static_cast<std::int32_t>(static_cast<std::uint32_t>(bits)),
                  static_cast<std::int32_t>(static_cast<std::uint32_t>(next)), op));
    }
  }
  if (dtype == DType::u8) return bits & 0xFFU;
  return dtype == DType::i32 ? bits & 0xFFFFFFFFU : bits;
}

std::uint64_t bits_at(const void* data, std::size_t index, DType dtype) {
  std::uint64_t bits = 0;
  std::memcpy(&bits, static_cast<const std::byte*>(data) + index * bytes_of(dtype),
              bytes_of(dtype));
  return bits;
}

void check_against_float64(std::uint64_t bits, std::uint64_t call_seed,
                           std::span<const WorldRank> ranks, std::size_t index, DType dtype,
                           ReduceOp op, const std::string& what) {
  if (!is_real(dtype)) return;
  double exact = 0;
  double magnitude = 0;
  for (std::size_t i = 0; i < ranks.size(); ++i) {
    const double value = float_of(element_bits(call_seed, ranks[i], index, dtype), dtype);
    exact = i == 0 ? value : combine(exact, value, op);
    magnitude += std::abs(value);
  }
  const double f32_error = std::ldexp(magnitude, -23) * static_cast<double>(ranks.size());
  double final_rounding = 0;
  if (dtype == DType::bf16) final_rounding = std::ldexp(std::abs(exact), -8);
  if (dtype == DType::f16) final_rounding = std::ldexp(std::max(std::abs(exact), 0x1p-14), -11);
  const double difference = std::abs(float_of(bits, dtype) - exact);
  if (difference <= f32_error + final_rounding) return;
  throw std::runtime_error(what + ": element " + std::to_string(index) + " is " +
                           std::to_string(float_of(bits, dtype)) + ", in float64 " +
                           std::to_string(exact));
}

}  // namespace cohort::contract
