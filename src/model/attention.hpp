#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <cohort/context_parallel.hpp>

#include "model/kv_cache.hpp"

namespace cohort {

/// Queries of one layer: rows that hold `head_count` heads at their beginning.
template <typename T>
struct QueryRows {
  const T* data = nullptr;
  std::size_t row_stride = 0;    // elements
  std::uint32_t head_count = 0;  // a multiple of the cache's KV heads
};

/// Causal attention of new tokens over the pages of their sequences.
///
/// Each query of `runs` sees the keys up to and including its own token, which must have been
/// stored. KV head h serves query heads [h, h + 1) x head_count / kv_head_count. `output` is
/// (rows, head_count * head_width). A query's result depends on its sequence alone, bit for bit,
/// not on what else is in the batch. Softmax and sums in f32. Local; uses `parallel_for`.
template <typename T>
void attend(const KvCache<T>& cache, std::size_t layer, std::span<const TokenRun> runs,
            const QueryRows<T>& queries, T* output);

}  // namespace cohort
