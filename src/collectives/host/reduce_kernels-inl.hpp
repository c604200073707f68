// How a vector of operands is read, combined and written, for every element type and operation:
// included once per instruction set by reduce.cpp, which says what may be called here.

#if defined(COHORT_COLLECTIVES_REDUCE_KERNELS_INL_HPP) == defined(HWY_TARGET_TOGGLE)
#ifdef COHORT_COLLECTIVES_REDUCE_KERNELS_INL_HPP
#undef COHORT_COLLECTIVES_REDUCE_KERNELS_INL_HPP
#else
#define COHORT_COLLECTIVES_REDUCE_KERNELS_INL_HPP
#endif

#include <bit>
#include <cstdint>
#include <cstring>

#include <hwy/highway.h>

#include "base/bf16.hpp"
#include "base/f16.hpp"
#include "collectives/host/reduce.hpp"

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

}  // namespace cohort::host::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
