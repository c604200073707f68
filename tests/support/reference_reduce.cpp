#include "support/reference_reduce.hpp"

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include "base/bf16.hpp"

namespace cohort::test {
namespace {

// bf16 operands are widened, so that only one kind of float is left to reduce.
template <typename Stored>
auto read_element(const std::byte* from) {
  Stored stored;
  std::memcpy(&stored, from, sizeof stored);
  if constexpr (std::is_same_v<Stored, std::uint16_t>) {
    return f32_from_bf16(stored);
  } else {
    return stored;
  }
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

template <typename Stored, typename Value>
void write_element(Value value, std::byte* to) {
  if constexpr (std::is_floating_point_v<Value>) {
    if (std::isnan(value)) value = std::bit_cast<float>(kCanonicalNanF32);
  }
  if constexpr (std::is_same_v<Stored, std::uint16_t>) {
    const std::uint16_t narrow = bf16_from_f32(value);
    std::memcpy(to, &narrow, sizeof narrow);
  } else {
    std::memcpy(to, &value, sizeof value);
  }
}

template <typename Stored>
std::vector<std::byte> reduce(std::span<const std::vector<std::byte>> operands, ReduceOp op) {
  std::vector<std::byte> result(operands.front().size());
  for (std::size_t at = 0; at < result.size(); at += sizeof(Stored)) {
    auto value = read_element<Stored>(&operands.front()[at]);
    for (const std::vector<std::byte>& operand : operands.subspan(1)) {
      value = combine(value, read_element<Stored>(&operand[at]), op);
    }
    write_element<Stored>(value, &result[at]);
  }
  return result;
}

}  // namespace

std::vector<std::byte> reference_reduce(std::span<const std::vector<std::byte>> operands,
                                        DType dtype, ReduceOp op) {
  switch (dtype) {
    case DType::f32: return reduce<float>(operands, op);
    case DType::bf16: return reduce<std::uint16_t>(operands, op);
    case DType::i32: return reduce<std::int32_t>(operands, op);
    case DType::i64: return reduce<std::int64_t>(operands, op);
  }
  return {};
}

}  // namespace cohort::test
