// Vectors of f32 from and to stored elements, for every instruction set: included once per target,
// between HWY_BEFORE_NAMESPACE and HWY_AFTER_NAMESPACE of its user.

#if defined(COHORT_MODEL_ELEMENT_INL_HPP) == defined(HWY_TARGET_TOGGLE)
#ifdef COHORT_MODEL_ELEMENT_INL_HPP
#undef COHORT_MODEL_ELEMENT_INL_HPP
#else
#define COHORT_MODEL_ELEMENT_INL_HPP
#endif

#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

#include "model/element.hpp"

HWY_BEFORE_NAMESPACE();
namespace cohort::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <class D>
HWY_INLINE hn::Vec<D> load_f32(D d, const float* from) {
  return hn::LoadU(d, from);
}

template <class D>
HWY_INLINE hn::Vec<D> load_f32(D d, const Bf16* from) {
  const hn::RebindToUnsigned<D> wide;
  const hn::Rebind<std::uint16_t, D> narrow;
  const auto bits = hn::LoadU(narrow, reinterpret_cast<const std::uint16_t*>(from));
  return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(wide, bits)));
}

template <class D>
HWY_INLINE void store_f32(D d, hn::Vec<D> value, float* to) {
  hn::StoreU(value, d, to);
}

// As base/bf16.hpp: ties to even, one NaN. The library's own conversion truncates.
template <class D>
HWY_INLINE void store_f32(D /*d*/, hn::Vec<D> value, Bf16* to) {
  const hn::RebindToUnsigned<D> wide;
  const hn::RebindToSigned<D> wide_signed;
  const hn::Rebind<std::uint16_t, D> narrow;
  const auto bits = hn::BitCast(wide, value);
  const auto last_kept = hn::And(hn::ShiftRight<16>(bits), hn::Set(wide, 1));
  const auto rounded = hn::ShiftRight<16>(hn::Add(bits, hn::Add(hn::Set(wide, 0x7fff), last_kept)));
  const auto is_nan = hn::RebindMask(wide, hn::IsNaN(value));
  const auto result = hn::IfThenElse(is_nan, hn::Set(wide, 0x7fc0), rounded);
  hn::StoreU(hn::DemoteTo(narrow, hn::BitCast(wide_signed, result)), narrow,
             reinterpret_cast<std::uint16_t*>(to));
}

}  // namespace cohort::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
