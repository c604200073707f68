#include "model/attention.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "model/attention_block.hpp"
#include "model/parallel.hpp"

namespace cohort {

namespace {

/// Queries [first, first + count) of one run's (token, head in group) pairs for one KV head.
struct BlockPlace {
  const TokenRun* run = nullptr;
  std::size_t kv_head = 0;
  std::size_t first = 0;
  std::size_t count = 0;
};

// Late blocks see more keys and take longer: dealt out first, the threads end together.
std::vector<BlockPlace> cut_into_blocks(std::span<const TokenRun> runs, std::size_t kv_head_count,
                                        std::size_t heads_per_kv_head) {
  std::vector<BlockPlace> blocks;
  for (const TokenRun& run : runs) {
    const std::size_t query_count = run.count * heads_per_kv_head;
    for (std::size_t kv_head = 0; kv_head < kv_head_count; ++kv_head) {
      for (std::size_t first = 0; first < query_count; first += kBlockQueries) {
        blocks.push_back({&run, kv_head, first, std::min(kBlockQueries, query_count - first)});
      }
    }
  }
  std::ranges::stable_sort(blocks, std::ranges::greater{}, [](const BlockPlace& block) {
    return block.run->position + block.first;
  });
  return blocks;
}

template <typename T>
class BlockRunner {
 public:
  BlockRunner(const KvCache<T>& cache, std::size_t layer, const QueryRows<T>& queries, T* output)
      : cache_(cache),
        layer_(layer),
        queries_(queries),
        output_(output),
        heads_per_kv_head_(queries.head_count / cache.shape().kv_head_count),
        width_(cache.shape().head_width),
        scale_(1.0f / std::sqrt(static_cast<float>(width_))) {}

  void operator()(const BlockPlace& place) const {
    const std::size_t stride = cache_.value_stride();
    // Kept by each thread: a step runs thousands of blocks.
    static thread_local std::vector<float> scratch;
    std::array<std::size_t, kBlockQueries> key_counts{};
    for (std::size_t q = 0; q < place.count; ++q) {
      key_counts[q] = place.run->kv_length((place.first + q) / heads_per_kv_head_);
    }
    AttentionBlock<T> block;
    block.query_count = place.count;
    block.key_counts = key_counts.data();
    block.key_count_max = key_counts[place.count - 1];
    const std::size_t score_elements = block_score_elements(block.key_count_max);
    scratch.resize(std::max(scratch.size(), score_elements + kBlockQueries * (width_ + stride)));
    float* block_queries = scratch.data() + score_elements;
    float* block_output = block_queries + kBlockQueries * width_;
    for (std::size_t q = 0; q < place.count; ++q) {
      const T* query = query_of(place, q);
      for (std::size_t i = 0; i < width_; ++i) {
        block_queries[q * width_ + i] = to_f32(query[i]) * scale_;
      }
    }
    block.queries = block_queries;
    block.head_base = cache_.head_base(layer_, place.kv_head);
    block.pages = cache_.pages(place.run->sequence).data();
    block.page_stride = cache_.page_stride();
    block.value_offset = cache_.value_offset();
    block.value_stride = stride;
    block.head_width = width_;
    attend_block(block, scratch.data(), block_output);
    for (std::size_t q = 0; q < place.count; ++q) {
      T* to =
          output_ + row_of(place, q) * queries_.head_count * width_ + head_of(place, q) * width_;
      for (std::size_t i = 0; i < width_; ++i) to[i] = from_f32<T>(block_output[q * stride + i]);
    }
  }

 private:
  std::size_t row_of(const BlockPlace& place, std::size_t q) const {
    return place.run->local_row + (place.first + q) / heads_per_kv_head_;
  }
  std::size_t head_of(const BlockPlace& place, std::size_t q) const {
    return place.kv_head * heads_per_kv_head_ + (place.first + q) % heads_per_kv_head_;
  }
  const T* query_of(const BlockPlace& place, std::size_t q) const {
    return queries_.data + row_of(place, q) * queries_.row_stride + head_of(place, q) * width_;
  }

  const KvCache<T>& cache_;
  std::size_t layer_;
  const QueryRows<T>& queries_;
  T* output_;
  std::size_t heads_per_kv_head_;
  std::size_t width_;
  float scale_;
};

}  // namespace

template <typename T>
void attend(const KvCache<T>& cache, std::size_t layer, std::span<const TokenRun> runs,
            const QueryRows<T>& queries, T* output) {
  const std::size_t kv_head_count = cache.shape().kv_head_count;
  const auto blocks = cut_into_blocks(runs, kv_head_count, queries.head_count / kv_head_count);
  const BlockRunner<T> runner(cache, layer, queries, output);
  parallel_for(blocks.size(), [&](std::size_t i) { runner(blocks[i]); });
}

template void attend<float>(const KvCache<float>&, std::size_t, std::span<const TokenRun>,
                            const QueryRows<float>&, float*);
template void attend<Bf16>(const KvCache<Bf16>&, std::size_t, std::span<const TokenRun>,
                           const QueryRows<Bf16>&, Bf16*);

}  // namespace cohort
