// The inner loops of attention, compiled once per instruction set and picked at run time.
//
// Lanes run over the 16 keys of a page for the scores, over a head's elements for the weighted
// values. Several queries share each load; every query has accumulators of its own and adds in
// token order, so its bits do not depend on which queries it shares a block with.

#include "model/attention_block.hpp"

// Lanes are capped at a page's tokens at compile time, which vectors of unknown length do not
// allow.
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE_256 | HWY_SVE2 | HWY_SVE2_128 | HWY_RVV)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "model/attention_block.cpp"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include "model/element-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace cohort::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr std::size_t kPage = 16;
// Far below any score, far above where f32 arithmetic would overflow.
constexpr float kMasked = -1e30f;

/// Scores of Q queries against all keys; `scores` is (Q, stride).
template <std::size_t Q, typename T>
HWY_INLINE void score_keys(const AttentionBlock<T>& block, const float* queries, std::size_t stride,
                           float* scores) {
  const HWY_CAPPED(float, 16) d;
  using Vec = hn::Vec<decltype(d)>;
  for (std::size_t page = 0; page * kPage < block.key_count_max; ++page) {
    const T* keys = block.head_base + block.pages[page] * block.page_stride;
    for (std::size_t lane = 0; lane < kPage; lane += hn::Lanes(d)) {
      Vec sums[Q];
      for (std::size_t q = 0; q < Q; ++q) sums[q] = hn::Zero(d);
      for (std::size_t i = 0; i < block.head_width; ++i) {
        const Vec key = load_f32(d, keys + i * kPage + lane);
        for (std::size_t q = 0; q < Q; ++q) {
          sums[q] = hn::MulAdd(hn::Set(d, queries[q * block.head_width + i]), key, sums[q]);
        }
      }
      for (std::size_t q = 0; q < Q; ++q) {
        hn::StoreU(sums[q], d, scores + q * stride + page * kPage + lane);
      }
    }
  }
}

/// Scores of one query to weights, in place; returns what they add up to.
HWY_INLINE float exponentials(float* scores, std::size_t key_count, std::size_t stride) {
  const HWY_CAPPED(float, 16) d;
  for (std::size_t key = key_count; key < stride; ++key) scores[key] = kMasked;
  auto highest = hn::Set(d, kMasked);
  for (std::size_t key = 0; key < stride; key += hn::Lanes(d)) {
    highest = hn::Max(highest, hn::LoadU(d, scores + key));
  }
  const auto shift = hn::MaxOfLanes(d, highest);
  auto sum = hn::Zero(d);
  for (std::size_t key = 0; key < stride; key += hn::Lanes(d)) {
    const auto weight = hn::Exp(d, hn::Sub(hn::LoadU(d, scores + key), shift));
    hn::StoreU(weight, d, scores + key);
    sum = hn::Add(sum, weight);
  }
  return hn::GetLane(hn::SumOfLanes(d, sum));
}

/// Weighted sums of the values of Q queries to `output`, (Q, value_stride).
template <std::size_t Q, typename T>
HWY_INLINE void weigh_values(const AttentionBlock<T>& block, const float* weights,
                             std::size_t stride, const float* factors, float* output) {
  const HWY_CAPPED(float, 16) d;
  using Vec = hn::Vec<decltype(d)>;
  for (std::size_t i = 0; i < block.value_stride; i += hn::Lanes(d)) {
    Vec sums[Q];
    for (std::size_t q = 0; q < Q; ++q) sums[q] = hn::Zero(d);
    for (std::size_t first = 0; first < block.key_count_max; first += kPage) {
      const T* values =
          block.head_base + block.pages[first / kPage] * block.page_stride + block.value_offset + i;
      const std::size_t left = block.key_count_max - first;
      const std::size_t in_page = left < kPage ? left : kPage;
      for (std::size_t key = 0; key < in_page; ++key) {
        const Vec value = load_f32(d, values + key * block.value_stride);
        for (std::size_t q = 0; q < Q; ++q) {
          sums[q] = hn::MulAdd(hn::Set(d, weights[q * stride + first + key]), value, sums[q]);
        }
      }
    }
    for (std::size_t q = 0; q < Q; ++q) {
      hn::StoreU(hn::Mul(sums[q], hn::Set(d, factors[q])), d, output + q * block.value_stride + i);
    }
  }
}

template <std::size_t Q, typename T>
HWY_INLINE void attend_queries(const AttentionBlock<T>& block, std::size_t first, float* scores,
                               float* output) {
  const std::size_t stride = (block.key_count_max + kPage - 1) / kPage * kPage;
  score_keys<Q>(block, block.queries + first * block.head_width, stride, scores);
  float factors[Q];
  for (std::size_t q = 0; q < Q; ++q) {
    factors[q] = 1.0f / exponentials(scores + q * stride, block.key_counts[first + q], stride);
  }
  weigh_values<Q>(block, scores, stride, factors, output + first * block.value_stride);
}

template <typename T>
HWY_INLINE void attend_all(const AttentionBlock<T>& block, float* scores, float* output) {
  std::size_t first = 0;
  while (first < block.query_count) {
    const std::size_t left = block.query_count - first;
    if (left >= 8) {
      attend_queries<8>(block, first, scores, output);
      first += 8;
    } else if (left >= 3) {
      // Three is the common number of query heads to a KV head.
      attend_queries<3>(block, first, scores, output);
      first += 3;
    } else {
      attend_queries<1>(block, first, scores, output);
      first += 1;
    }
  }
}

void AttendF32(const AttentionBlock<float>& block, float* scores, float* output) {
  attend_all(block, scores, output);
}
void AttendBf16(const AttentionBlock<Bf16>& block, float* scores, float* output) {
  attend_all(block, scores, output);
}

}  // namespace cohort::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace cohort {

HWY_EXPORT(AttendF32);
HWY_EXPORT(AttendBf16);

void attend_block(const AttentionBlock<float>& block, float* scores, float* output) noexcept {
  HWY_DYNAMIC_DISPATCH(AttendF32)(block, scores, output);
}
void attend_block(const AttentionBlock<Bf16>& block, float* scores, float* output) noexcept {
  HWY_DYNAMIC_DISPATCH(AttendBf16)(block, scores, output);
}

}  // namespace cohort
#endif  // HWY_ONCE
