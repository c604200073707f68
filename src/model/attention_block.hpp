#pragma once

#include <cstddef>
#include <cstdint>

#include "model/element.hpp"

namespace cohort {

/// Most queries that one block of attention works on.
inline constexpr std::size_t kBlockQueries = 8;

/// A few queries of one sequence that read the same KV head.
template <typename T>
struct AttentionBlock {
  const float* queries = nullptr;           // (query_count, head_width), scaled
  std::size_t query_count = 0;              // 1 to kBlockQueries
  const std::size_t* key_counts = nullptr;  // by query: keys it sees
  std::size_t key_count_max = 0;            // of these queries
  const T* head_base = nullptr;             // see KvCache::head_base
  const std::uint32_t* pages = nullptr;     // of the sequence
  std::size_t page_stride = 0;
  std::size_t value_offset = 0;
  std::size_t value_stride = 0;
  std::size_t head_width = 0;
};

/// Elements of `scores` that `attend_block` needs: kBlockQueries rows of whole pages.
constexpr std::size_t block_score_elements(std::size_t key_count_max) noexcept {
  return kBlockQueries * ((key_count_max + 15) / 16 * 16);
}

/// Softmax(q K) V of each query to `output`, (query_count, value_stride). Local.
void attend_block(const AttentionBlock<float>& block, float* scores, float* output) noexcept;
void attend_block(const AttentionBlock<Bf16>& block, float* scores, float* output) noexcept;

}  // namespace cohort
