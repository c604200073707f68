// Reductions of several operands into one, compiled once per instruction set and picked at run
// time.
//
// All instruction sets give the same bits because every lane does the same thing: one chain of f32
// additions in input order, no products that could be fused, integer arithmetic for everything
// else, and remainders that run the same kernel on narrower vectors. Native bf16 conversions are
// not used: x86's flush denormals. Those of f16 do not, so they serve where there are any.

#include "collectives/host/reduce.hpp"

#include <bit>
#include <cstdint>
#include <cstring>

#include "base/bf16.hpp"
#include "base/f16.hpp"

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

// Between here and HWY_AFTER_NAMESPACE no inline function from outside is called: the linker keeps
// one copy of such a function for the whole program, and it might be the one compiled for AVX-512.
HWY_BEFORE_NAMESPACE();
namespace cohort::host::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

static_assert(std::endian::native == std::endian::little);

// Operands may lie at any byte, so whole vectors are read as bytes and single lanes are copied.
template <class D>
HWY_INLINE hn::Vec<D> load(D d, const std::byte* from) {
  if constexpr (hn::MaxLanes(d) == 1) {
    hn::TFromD<D> value;
    std::memcpy(&value, from, sizeof value);
    return hn::Set(d, value);
  } else {
    const hn::Repartition<std::uint8_t, D> bytes;
    return hn::BitCast(d, hn::LoadU(bytes, reinterpret_cast<const std::uint8_t*>(from)));
  }
}

template <class D>
HWY_INLINE void store(D d, hn::Vec<D> value, std::byte* to) {
  if constexpr (hn::MaxLanes(d) == 1) {
    const hn::TFromD<D> lane = hn::GetLane(value);
    std::memcpy(to, &lane, sizeof lane);
  } else {
    const hn::Repartition<std::uint8_t, D> bytes;
    hn::StoreU(hn::BitCast(bytes, value), bytes, reinterpret_cast<std::uint8_t*>(to));
  }
}

// A kernel says how a vector of operands is read (`load`), how two are put together (`combine`)
// and how the result is written (`finish`). In between, values may take another form.

struct SumF32 {
  using Lane = float;

  template <class D>
  static HWY_INLINE hn::Vec<D> load(D d, const std::byte* from) {
    return HWY_NAMESPACE::load(d, from);
  }
  template <class V>
  static HWY_INLINE V combine(V left, V right) {
    return hn::Add(left, right);
  }
  template <class D>
  static HWY_INLINE void finish(D d, hn::Vec<D> sum, std::byte* to) {
    const hn::RebindToUnsigned<D> bits;
    const auto nan = hn::BitCast(d, hn::Set(bits, kCanonicalNanF32));
    store(d, hn::IfThenElse(hn::IsNaN(sum), nan, sum), to);
  }
};

// Neighbours share a 32-bit word: the even element is its low half, the odd one its high half. Both
// become f32 by a shift or a mask within the word, so that no lane ever moves.
struct SumBf16 {
  using Lane = std::uint16_t;

  template <class V>
  struct Halves {
    V even;
    V odd;
  };
  template <class D>
  using Words = hn::Repartition<std::uint32_t, D>;  // one whole word for a single lane
  static constexpr std::uint32_t kHighHalf = 0xffff0000;

  template <class D>
  static HWY_INLINE auto load(D, const std::byte* from) {
    const Words<D> words;
    const hn::RebindToFloat<Words<D>> floats;
    using Result = Halves<hn::Vec<hn::RebindToFloat<Words<D>>>>;
    if constexpr (hn::MaxLanes(D()) == 1) {
      std::uint16_t lane;
      std::memcpy(&lane, from, sizeof lane);
      const auto word = hn::Set(words, static_cast<std::uint32_t>(lane) << 16);
      return Result{hn::BitCast(floats, word), hn::Zero(floats)};
    } else {
      const auto word = HWY_NAMESPACE::load(words, from);
      return Result{hn::BitCast(floats, hn::ShiftLeft<16>(word)),
                    hn::BitCast(floats, hn::And(word, hn::Set(words, kHighHalf)))};
    }
  }
  template <class V>
  static HWY_INLINE Halves<V> combine(Halves<V> left, Halves<V> right) {
    return {hn::Add(left.even, right.even), hn::Add(left.odd, right.odd)};
  }
  template <class D, class V>
  static HWY_INLINE void finish(D, Halves<V> sum, std::byte* to) {
    const Words<D> words;
    const auto even = hn::ShiftRight<16>(rounded(words, sum.even));
    if constexpr (hn::MaxLanes(D()) == 1) {
      const auto lane = static_cast<std::uint16_t>(hn::GetLane(even));
      std::memcpy(to, &lane, sizeof lane);
    } else {
      const auto odd = hn::And(rounded(words, sum.odd), hn::Set(words, kHighHalf));
      store(words, hn::Or(even, odd), to);
    }
  }

  // The high half is the nearest bf16 (as in bf16_from_f32), the low half is of no meaning.
  template <class D, class V>
  static HWY_INLINE hn::Vec<D> rounded(D words, V value) {
    const auto bits = hn::BitCast(words, value);
    const auto last_kept_bit = hn::And(hn::ShiftRight<16>(bits), hn::Set(words, 1));
    const auto nearest = hn::Add(bits, hn::Add(last_kept_bit, hn::Set(words, 0x7fff)));
    const auto is_nan = hn::RebindMask(words, hn::IsNaN(value));
    return hn::IfThenElse(is_nan, hn::Set(words, kCanonicalNanF32), nearest);
  }
};

#undef COHORT_NATIVE_F16
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2 && !defined(HWY_DISABLE_F16C)
#define COHORT_NATIVE_F16 1
#else
#define COHORT_NATIVE_F16 0
#endif

#if COHORT_NATIVE_F16
// The lower and the upper half of a vector are converted on their own. F16C keeps denormals in
// whatever mode the processor is, and rounds to nearest, ties to even.
struct SumF16 {
  using Lane = std::uint16_t;

  template <class V>
  struct Halves {
    V lower;
    V upper;
  };
  template <class D>
  using Floats = hn::Repartition<float, D>;  // one whole float for a single lane
  template <class D>
  using Half = hn::Rebind<hwy::float16_t, Floats<D>>;

  template <class D>
  static HWY_INLINE auto load(D, const std::byte* from) {
    const Floats<D> floats;
    const Half<D> half;
    const hn::RebindToUnsigned<Half<D>> bits;
    const auto widened = [&](const std::byte* at) HWY_ATTR {
      return hn::PromoteTo(floats, hn::BitCast(half, HWY_NAMESPACE::load(bits, at)));
    };
    using Result = Halves<hn::Vec<Floats<D>>>;
    if constexpr (hn::MaxLanes(D()) == 1) {
      return Result{widened(from), hn::Zero(floats)};
    } else {
      return Result{widened(from), widened(from + sizeof(Lane) * hn::MaxLanes(half))};
    }
  }
  template <class V>
  static HWY_INLINE Halves<V> combine(Halves<V> left, Halves<V> right) {
    return {hn::Add(left.lower, right.lower), hn::Add(left.upper, right.upper)};
  }
  template <class D, class V>
  static HWY_INLINE void finish(D, Halves<V> sum, std::byte* to) {
    const hn::RebindToUnsigned<Half<D>> bits;
    store(bits, rounded(D(), sum.lower), to);
    if constexpr (hn::MaxLanes(D()) > 1) {
      store(bits, rounded(D(), sum.upper), to + sizeof(Lane) * hn::MaxLanes(bits));
    }
  }

  template <class D, class V>
  static HWY_INLINE auto rounded(D, V value) {
    const Floats<D> floats;
    const Half<D> half;
    const hn::RebindToUnsigned<Floats<D>> words;
    const auto nan = hn::BitCast(floats, hn::Set(words, kCanonicalNanF32));
    const auto canonical = hn::IfThenElse(hn::IsNaN(value), nan, value);
    const hn::RebindToUnsigned<Half<D>> bits;
    return hn::BitCast(bits, hn::DemoteTo(half, canonical));
  }
};
#else
// Neighbours share a 32-bit word as in bf16; integers do what the processor cannot.
struct SumF16 {
  using Lane = std::uint16_t;
  template <class V>
  using Halves = SumBf16::Halves<V>;
  template <class D>
  using Words = SumBf16::Words<D>;

  template <class D>
  static HWY_INLINE auto load(D, const std::byte* from) {
    const Words<D> words;
    using Result = Halves<hn::Vec<hn::RebindToFloat<Words<D>>>>;
    if constexpr (hn::MaxLanes(D()) == 1) {
      std::uint16_t lane;
      std::memcpy(&lane, from, sizeof lane);
      const auto word = hn::Set(words, static_cast<std::uint32_t>(lane));
      return Result{widened(words, word), hn::Zero(hn::RebindToFloat<Words<D>>())};
    } else {
      const auto word = HWY_NAMESPACE::load(words, from);
      return Result{widened(words, hn::And(word, hn::Set(words, 0xffff))),
                    widened(words, hn::ShiftRight<16>(word))};
    }
  }
  template <class V>
  static HWY_INLINE Halves<V> combine(Halves<V> left, Halves<V> right) {
    return SumBf16::combine(left, right);
  }
  template <class D, class V>
  static HWY_INLINE void finish(D, Halves<V> sum, std::byte* to) {
    const Words<D> words;
    const auto even = rounded(words, sum.even);
    if constexpr (hn::MaxLanes(D()) == 1) {
      const auto lane = static_cast<std::uint16_t>(hn::GetLane(even));
      std::memcpy(to, &lane, sizeof lane);
    } else {
      store(words, hn::Or(even, hn::ShiftLeft<16>(rounded(words, sum.odd))), to);
    }
  }

  // Of the low 16 bits of each word. A denormal's steps are counted above 2^-14, which is then
  // taken away again: exact, and no f32 denormal is met.
  template <class D>
  static HWY_INLINE hn::Vec<hn::RebindToFloat<D>> widened(D words, hn::Vec<D> half) {
    const hn::RebindToFloat<D> floats;
    const hn::RebindToSigned<D> order;  // below 2^31, so signed comparisons serve
    const auto smallest_normal = hn::Set(words, 113U << 23U);
    const auto magnitude = hn::And(half, hn::Set(words, 0x7fff));
    const auto sign = hn::ShiftLeft<16>(hn::And(half, hn::Set(words, 0x8000)));
    const auto shifted = hn::ShiftLeft<13>(magnitude);
    const auto normal = hn::Add(shifted, hn::Set(words, 112U << 23U));
    const auto special = hn::Or(shifted, hn::Set(words, 0x7f800000));
    const auto denormal =
        hn::BitCast(words, hn::Sub(hn::BitCast(floats, hn::Add(shifted, smallest_normal)),
                                   hn::BitCast(floats, smallest_normal)));
    const auto is_special =
        hn::RebindMask(words, hn::Gt(hn::BitCast(order, magnitude), hn::Set(order, 0x7bff)));
    const auto is_normal =
        hn::RebindMask(words, hn::Gt(hn::BitCast(order, magnitude), hn::Set(order, 0x03ff)));
    const auto finite = hn::IfThenElse(is_normal, normal, denormal);
    return hn::BitCast(floats, hn::Or(sign, hn::IfThenElse(is_special, special, finite)));
  }

  // The low half of each word is the nearest f16 (as in f16_from_f32), the high half is empty.
  // Adding 1/2, whose last bit is worth 2^-24, rounds what becomes a denormal.
  template <class D, class V>
  static HWY_INLINE hn::Vec<D> rounded(D words, V value) {
    const hn::RebindToFloat<D> floats;
    const hn::RebindToSigned<D> order;
    const auto bits = hn::BitCast(words, value);
    const auto magnitude = hn::And(bits, hn::Set(words, 0x7fffffff));
    const auto sign = hn::And(hn::ShiftRight<16>(bits), hn::Set(words, 0x8000));
    const auto last_kept_bit = hn::And(hn::ShiftRight<13>(magnitude), hn::Set(words, 1));
    const auto rounding = hn::Add(last_kept_bit, hn::Set(words, 0xfff - (112U << 23U)));
    const auto normal = hn::ShiftRight<13>(hn::Add(magnitude, rounding));
    const auto half = hn::Set(floats, 0.5F);
    const auto denormal = hn::Sub(hn::BitCast(words, hn::Add(hn::BitCast(floats, magnitude), half)),
                                  hn::BitCast(words, half));
    const auto is_normal =
        hn::RebindMask(words, hn::Gt(hn::BitCast(order, magnitude), hn::Set(order, 0x387fffff)));
    const auto is_infinite =
        hn::RebindMask(words, hn::Gt(hn::BitCast(order, magnitude), hn::Set(order, 0x477fefff)));
    const auto is_nan = hn::RebindMask(words, hn::IsNaN(value));
    const auto finite = hn::IfThenElse(is_normal, normal, denormal);
    const auto number = hn::Or(sign, hn::IfThenElse(is_infinite, hn::Set(words, 0x7c00), finite));
    return hn::IfThenElse(is_nan, hn::Set(words, kCanonicalNanF16), number);
  }
};
#endif

template <class Unsigned>
struct SumInteger {
  using Lane = Unsigned;

  template <class D>
  static HWY_INLINE hn::Vec<D> load(D d, const std::byte* from) {
    return HWY_NAMESPACE::load(d, from);
  }
  template <class V>
  static HWY_INLINE V combine(V left, V right) {
    return hn::Add(left, right);
  }
  template <class D>
  static HWY_INLINE void finish(D d, hn::Vec<D> sum, std::byte* to) {
    store(d, sum, to);
  }
};

template <ReduceOp kOp, class Integer>
struct ExtremeInteger {
  using Lane = Integer;

  template <class D>
  static HWY_INLINE hn::Vec<D> load(D d, const std::byte* from) {
    return HWY_NAMESPACE::load(d, from);
  }
  template <class V>
  static HWY_INLINE V combine(V left, V right) {
    if constexpr (kOp == ReduceOp::min) {
      return hn::Min(left, right);
    } else {
      return hn::Max(left, right);
    }
  }
  template <class D>
  static HWY_INLINE void finish(D d, hn::Vec<D> extreme, std::byte* to) {
    store(d, extreme, to);
  }
};

// Floats as signed integers of the same order: a negative's magnitude bits are flipped, so -0 comes
// right below +0. NaN takes the end of the range that always wins; no number lies there.
template <ReduceOp kOp, class Signed, Signed kInfinity, Signed kNan>
struct ExtremeFloat {
  using Lane = Signed;
  static constexpr int kSignShift = static_cast<int>(8 * sizeof(Signed)) - 1;
  static constexpr Signed kMagnitude = static_cast<Signed>(~(Signed{1} << kSignShift));
  static constexpr Signed kNanKey =
      kOp == ReduceOp::min ? static_cast<Signed>(~kMagnitude) : kMagnitude;

  // Its own inverse.
  template <class D>
  static HWY_INLINE hn::Vec<D> flip_negative(D d, hn::Vec<D> bits) {
    const auto sign = hn::ShiftRight<kSignShift>(bits);
    return hn::Xor(bits, hn::And(sign, hn::Set(d, kMagnitude)));
  }
  template <class D>
  static HWY_INLINE hn::Vec<D> load(D d, const std::byte* from) {
    const auto bits = HWY_NAMESPACE::load(d, from);
    const auto magnitude = hn::And(bits, hn::Set(d, kMagnitude));
    const auto is_nan = hn::Gt(magnitude, hn::Set(d, kInfinity));
    return hn::IfThenElse(is_nan, hn::Set(d, kNanKey), flip_negative(d, bits));
  }
  template <class V>
  static HWY_INLINE V combine(V left, V right) {
    return ExtremeInteger<kOp, Signed>::combine(left, right);
  }
  template <class D>
  static HWY_INLINE void finish(D d, hn::Vec<D> key, std::byte* to) {
    const auto is_nan = hn::Eq(key, hn::Set(d, kNanKey));
    store(d, hn::IfThenElse(is_nan, hn::Set(d, kNan), flip_negative(d, key)), to);
  }
};

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

// Round to nearest and keep denormals for as long as this lives: a caller (or a library that it
// loaded) may have switched denormals off, and ranks that differ in it would differ in results.
class FloatMode {
 public:
#if HWY_ARCH_X86
  FloatMode() noexcept : saved_(_mm_getcsr()) {
    if (is_changed()) _mm_setcsr(kDefault);
  }
  ~FloatMode() {
    if (is_changed()) _mm_setcsr(saved_);
  }

 private:
  static constexpr unsigned kDefault = 0x1f80;
  static constexpr unsigned kStickyFlags = 0x3f;
  bool is_changed() const noexcept {
    return (saved_ & ~kStickyFlags) != kDefault;
  }
  unsigned saved_;

 public:
#else
  FloatMode() noexcept = default;
  ~FloatMode() = default;
#endif
  FloatMode(const FloatMode&) = delete;
  FloatMode& operator=(const FloatMode&) = delete;
};

}  // namespace

void reduce(std::span<const std::byte* const> inputs, std::byte* out, std::size_t elements,
            DType dtype, ReduceOp op) noexcept {
  const FloatMode mode;
  HWY_DYNAMIC_DISPATCH(reduce_any)
  (inputs.data(), inputs.size(), out, elements * bytes_of(dtype), dtype, op);
}

std::string_view reduce_instruction_set() noexcept {
  return HWY_DYNAMIC_DISPATCH(target_name)();
}

}  // namespace cohort::host
#endif  // HWY_ONCE
