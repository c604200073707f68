// Reductions of several operands into one, compiled once per instruction set and picked at run
// time.
//
// All instruction sets give the same bits because every lane does the same thing: one chain of f32
// additions in input order, no products that could be fused, integer arithmetic for everything
// else, and remainders that run the same kernel on narrower vectors. Native bf16 conversions are
// not used: x86's flush denormals. Those of f16 do not, so they serve where there are any.

#include "collectives/host/reduce.hpp"

#include <cstdint>
#include <cstring>

#if defined(__FAST_MATH__)
#error "reductions promise exact bits: build without -ffast-math"
#endif

// The kernels keep vectors in structs and know their lanes at compile time, which vectors of
// unknown length do not allow. SSSE3 alone is for machines of before 2010: the scalar code does.
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SVE | HWY_SVE_256 | HWY_SVE2 | HWY_SVE2_128 | HWY_RVV)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "collectives/host/reduce.cpp"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include "collectives/host/reduce_kernels-inl.hpp"

// Between here and HWY_AFTER_NAMESPACE no inline function from outside is called: the linker keeps
// one copy of such a function for the whole program, and it might be the one compiled for AVX-512.
HWY_BEFORE_NAMESPACE();
namespace cohort::host::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

struct Operands {
  const std::byte* const* inputs;
  std::size_t input_count;
  std::byte* out;
  std::size_t bytes;
};

// From byte `begin` on, where less than a block is left: whole vectors, then ever narrower ones.
template <class Kernel, class D>
HWY_NOINLINE void reduce_rest(D d, const Operands& operands, std::size_t begin) {
  constexpr std::size_t kVectorBytes = hn::MaxLanes(D()) * sizeof(typename Kernel::Lane);
  for (; operands.bytes - begin >= kVectorBytes; begin += kVectorBytes) {
    auto result = Kernel::load(d, operands.inputs[0] + begin);
    for (std::size_t input = 1; input < operands.input_count; ++input) {
      result = Kernel::combine(result, Kernel::load(d, operands.inputs[input] + begin));
    }
    Kernel::finish(d, result, operands.out + begin);
  }
  if constexpr (hn::MaxLanes(D()) > 1) reduce_rest<Kernel>(hn::Half<D>(), operands, begin);
}

// Whole blocks of four vectors; returns the bytes done. kInputCount 0 means: known only at run
// time. All inputs of a block are read before any of it is written, which lets `out` be one of the
// inputs.
template <class Kernel, std::size_t kInputCount>
HWY_NOINLINE std::size_t reduce_blocks(const Operands& operands) {
  const hn::ScalableTag<typename Kernel::Lane> d;
  constexpr std::size_t kStep = hn::MaxLanes(d) * sizeof(typename Kernel::Lane);
  // Local copies: stores to `out` might otherwise change the pointers in the compiler's eyes.
  const std::byte* fixed_inputs[kInputCount == 0 ? 1 : kInputCount];
  for (std::size_t input = 0; input < kInputCount; ++input) {
    fixed_inputs[input] = operands.inputs[input];
  }
  const std::byte* const* inputs = kInputCount == 0 ? operands.inputs : fixed_inputs;
  const std::size_t input_count = kInputCount == 0 ? operands.input_count : kInputCount;
  std::byte* const out = operands.out;

  std::size_t at = 0;
  for (; operands.bytes - at >= 4 * kStep; at += 4 * kStep) {
    const std::byte* from = inputs[0] + at;
    auto result0 = Kernel::load(d, from);
    auto result1 = Kernel::load(d, from + kStep);
    auto result2 = Kernel::load(d, from + 2 * kStep);
    auto result3 = Kernel::load(d, from + 3 * kStep);
    for (std::size_t input = 1; input < input_count; ++input) {
      from = inputs[input] + at;
      result0 = Kernel::combine(result0, Kernel::load(d, from));
      result1 = Kernel::combine(result1, Kernel::load(d, from + kStep));
      result2 = Kernel::combine(result2, Kernel::load(d, from + 2 * kStep));
      result3 = Kernel::combine(result3, Kernel::load(d, from + 3 * kStep));
    }
    Kernel::finish(d, result0, out + at);
    Kernel::finish(d, result1, out + at + kStep);
    Kernel::finish(d, result2, out + at + 2 * kStep);
    Kernel::finish(d, result3, out + at + 3 * kStep);
  }
  return at;
}

template <class Kernel>
void reduce_with(const Operands& operands) {
  std::size_t done = 0;
  switch (operands.input_count) {
    case 2: done = reduce_blocks<Kernel, 2>(operands); break;
    case 3: done = reduce_blocks<Kernel, 3>(operands); break;
    case 4: done = reduce_blocks<Kernel, 4>(operands); break;
    default: done = reduce_blocks<Kernel, 0>(operands); break;
  }
  reduce_rest<Kernel>(hn::ScalableTag<typename Kernel::Lane>(), operands, done);
}

template <ReduceOp kOp>
void reduce_extreme(const Operands& operands, DType dtype) {
  using std::int16_t;
  using std::int32_t;
  using F32 = ExtremeFloat<kOp, int32_t, 0x7f800000, int32_t{kCanonicalNanF32}>;
  using Bf16 = ExtremeFloat<kOp, int16_t, 0x7f80, int16_t{kCanonicalNanBf16}>;
  using F16 = ExtremeFloat<kOp, int16_t, 0x7c00, int16_t{kCanonicalNanF16}>;
  switch (dtype) {
    case DType::f32: return reduce_with<F32>(operands);
    case DType::bf16: return reduce_with<Bf16>(operands);
    case DType::f16: return reduce_with<F16>(operands);
    case DType::i32: return reduce_with<ExtremeInteger<kOp, int32_t>>(operands);
    case DType::i64: return reduce_with<ExtremeInteger<kOp, std::int64_t>>(operands);
    case DType::u8: return reduce_with<ExtremeInteger<kOp, std::uint8_t>>(operands);
    case DType::f8e4m3: return;  // excluded by the function's requirements
  }
}

void reduce_sum(const Operands& operands, DType dtype) {
  switch (dtype) {
    case DType::f32: return reduce_with<SumF32>(operands);
    case DType::bf16: return reduce_with<SumBf16>(operands);
    case DType::f16: return reduce_with<SumF16>(operands);
    case DType::i32: return reduce_with<SumInteger<std::uint32_t>>(operands);
    case DType::i64: return reduce_with<SumInteger<std::uint64_t>>(operands);
    case DType::u8: return reduce_with<SumInteger<std::uint8_t>>(operands);
    case DType::f8e4m3: return;  // excluded by the function's requirements
  }
}

void reduce_any(const std::byte* const* inputs, std::size_t input_count, std::byte* out,
                std::size_t bytes, DType dtype, ReduceOp op) {
  const Operands operands{inputs, input_count, out, bytes};
  switch (op) {
    case ReduceOp::sum: return reduce_sum(operands, dtype);
    case ReduceOp::min: return reduce_extreme<ReduceOp::min>(operands, dtype);
    case ReduceOp::max: return reduce_extreme<ReduceOp::max>(operands, dtype);
  }
}

const char* target_name() {
  return hwy::TargetName(HWY_TARGET);
}

}  // namespace cohort::host::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace cohort::host {
namespace {

HWY_EXPORT(reduce_any);
HWY_EXPORT(target_name);

#if HWY_ARCH_X86
constexpr unsigned kDefaultMode = 0x1f80;
constexpr unsigned kStickyFlags = 0x3f;

bool is_changed(unsigned mode) noexcept {
  return (mode & ~kStickyFlags) != kDefaultMode;
}
#endif

}  // namespace

#if HWY_ARCH_X86
FloatMode::FloatMode() noexcept : saved_(_mm_getcsr()) {
  if (is_changed(saved_)) _mm_setcsr(kDefaultMode);
}
FloatMode::~FloatMode() {
  if (is_changed(saved_)) _mm_setcsr(saved_);
}
#else
FloatMode::FloatMode() noexcept = default;
FloatMode::~FloatMode() = default;
#endif

void reduce(std::span<const std::byte* const> inputs, std::byte* out, std::size_t elements,
            DType dtype, ReduceOp op) noexcept {
  const FloatMode mode;
  reduce_in_mode(inputs, out, elements, dtype, op);
}

void reduce_in_mode(std::span<const std::byte* const> inputs, std::byte* out, std::size_t elements,
                    DType dtype, ReduceOp op) noexcept {
  HWY_DYNAMIC_DISPATCH(reduce_any)
  (inputs.data(), inputs.size(), out, elements * bytes_of(dtype), dtype, op);
}

std::string_view reduce_instruction_set() noexcept {
  return HWY_DYNAMIC_DISPATCH(target_name)();
}

}  // namespace cohort::host
#endif  // HWY_ONCE
