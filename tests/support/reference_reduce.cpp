#include "support/reference_reduce.hpp"

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include "base/bf16.hpp"
#include "base/f16.hpp"

namespace cohort::test {
namespace {

// What a type's elements are stored as and reduced as. Narrow floats are widened, so that only one
// kind of float is left to reduce.
template <typename Number>
struct Plain {
  using Stored = Number;
  static Number read(Number stored) { return stored; }
  static Number write(Number value) { return value; }
};
struct Bf16 {
  using Stored = std::uint16_t;
  static float read(Stored stored) { return f32_from_bf16(stored); }
  static Stored write(float value) { return bf16_from_f32(value); }
};
struct F16 {
  using Stored = std::uint16_t;
  static float read(Stored stored) { return f32_from_f16(stored); }
  static Stored write(float value) { return f16_from_f32(value); }
};

template <typename Format>
auto read_element(const std::byte* from) {
  typename Format::Stored stored;
  std::memcpy(&stored, from, sizeof stored);
  return Format::read(stored);
}

float combine(float left, float right, ReduceOp op) {
  if (op == ReduceOp::sum) return left + right;
  if (std::isnan(left) || std::isnan(right)) return std::numeric_limits<float>::quiet_NaN();
  const bool left_is_less = left < right || (left == right && std::signbit(left));
  return left_is_less == (op == ReduceOp::min) ? left : right;
}

template <typename Integer>
Integer combine(Integer left, Integer right, ReduceOp op) {
  using Unsigned = std::make_unsigned_t<Integer>;
  if (op == ReduceOp::sum) {
    return static_cast<Integer>(static_cast<Unsigned>(left) + static_cast<Unsigned>(right));
  }
  return (left < right) == (op == ReduceOp::min) ? left : right;
}

template <typename Format, typename Value>
void write_element(Value value, std::byte* to) {
  if constexpr (std::is_floating_point_v<Value>) {
    if (std::isnan(value)) value = std::bit_cast<float>(kCanonicalNanF32);
  }
  const typename Format::Stored stored = Format::write(value);
  std::memcpy(to, &stored, sizeof stored);
}

template <typename Format>
std::vector<std::byte> reduce(std::span<const std::vector<std::byte>> operands, ReduceOp op) {
  std::vector<std::byte> result(operands.front().size());
  for (std::size_t at = 0; at < result.size(); at += sizeof(typename Format::Stored)) {
    auto value = read_element<Format>(&operands.front()[at]);
    for (const std::vector<std::byte>& operand : operands.subspan(1)) {
      value = combine(value, read_element<Format>(&operand[at]), op);
    }
    write_element<Format>(value, &result[at]);
  }
  return result;
}

}  // namespace

std::vector<std::byte> reference_reduce(std::span<const std::vector<std::byte>> operands,
                                        DType dtype, ReduceOp op) {
  switch (dtype) {
    case DType::f32: return reduce<Plain<float>>(operands, op);
    case DType::bf16: return reduce<Bf16>(operands, op);
    case DType::i32: return reduce<Plain<std::int32_t>>(operands, op);
    case DType::i64: return reduce<Plain<std::int64_t>>(operands, op);
    case DType::f16: return reduce<F16>(operands, op);
    case DType::u8: return reduce<Plain<std::uint8_t>>(operands, op);
    case DType::f8e4m3: break;  // moved, never reduced
  }
  return {};
}

}  // namespace cohort::test
