#include "model/kv_cache.hpp"

#include <algorithm>
#include <vector>

#include <gtest/gtest.h>

#include <cohort/error.hpp>

namespace cohort {
namespace {

constexpr KvShape kShape{.layer_count = 2,
                         .kv_head_count = 3,
                         .head_width = 5,
                         .sequence_count_max = 2,
                         .token_count_max = 40};

/// The stored row [keys | values] of one token, read back through the page layout.
std::vector<float> row_at(const KvCache<float>& cache, std::size_t layer, std::size_t sequence,
                          std::size_t position) {
  const KvShape& shape = cache.shape();
  const std::uint32_t page = cache.pages(sequence)[position / kPageTokens];
  const std::size_t in_page = position % kPageTokens;
  std::vector<float> keys;
  std::vector<float> values;
  for (std::size_t head = 0; head < shape.kv_head_count; ++head) {
    const float* base = cache.head_base(layer, head) + page * cache.page_stride();
    for (std::size_t i = 0; i < shape.head_width; ++i) {
      keys.push_back(base[i * kPageTokens + in_page]);
      values.push_back(base[cache.value_offset() + in_page * cache.value_stride() + i]);
    }
  }
  keys.insert(keys.end(), values.begin(), values.end());
  return keys;
}

std::vector<float> row_of(float first) {
  std::vector<float> row(2 * 3 * 5);
  for (std::size_t i = 0; i < row.size(); ++i) row[i] = first + static_cast<float>(i);
  return row;
}

TEST(KvCache, HoldsWhatWasStored) {
  KvCache<float> cache(kShape);
  cache.reserve(0, 20);
  cache.reserve(1, 40);
  for (std::size_t layer = 0; layer < 2; ++layer) {
    for (std::size_t position = 0; position < 40; ++position) {
      const auto mark = static_cast<float>(layer * 10000 + position * 100);
      if (position < 20) cache.store(layer, 0, position, row_of(mark).data());
      cache.store(layer, 1, position, row_of(-mark).data());
    }
  }
  for (std::size_t layer = 0; layer < 2; ++layer) {
    for (std::size_t position = 0; position < 40; ++position) {
      const auto mark = static_cast<float>(layer * 10000 + position * 100);
      if (position < 20) {
        EXPECT_EQ(row_at(cache, layer, 0, position), row_of(mark));
      }
      EXPECT_EQ(row_at(cache, layer, 1, position), row_of(-mark));
    }
  }
}

TEST(KvCache, GrowsByPagesAndGivesThemBack) {
  KvCache<float> cache(kShape);
  EXPECT_EQ(cache.pages_in_use(), 0);
  cache.reserve(0, 1);
  EXPECT_EQ(cache.pages_in_use(), 1);
  cache.reserve(0, 16);
  EXPECT_EQ(cache.pages_in_use(), 1);
  cache.reserve(0, 17);
  EXPECT_EQ(cache.pages_in_use(), 2);
  cache.reserve(1, 40);
  EXPECT_EQ(cache.pages_in_use(), 5);
  cache.release(0);
  EXPECT_EQ(cache.pages_in_use(), 3);
  cache.release(1);
  EXPECT_EQ(cache.pages_in_use(), 0);
}

TEST(KvCache, TheMaximaAlwaysFit) {
  KvCache<float> cache(kShape);
  for (int round = 0; round < 3; ++round) {
    cache.reserve(1, 40);
    cache.reserve(0, 40);
    EXPECT_EQ(cache.pages_in_use(), 6);
    cache.release(static_cast<std::size_t>(round % 2));
    cache.release(static_cast<std::size_t>(1 - round % 2));
  }
}

TEST(KvCache, PagesComeBackCleared) {
  KvCache<float> cache(kShape);
  cache.reserve(0, 40);
  const std::vector<float> row(30, 9.0F);
  for (std::size_t position = 0; position < 40; ++position) {
    cache.store(1, 0, position, row.data());
  }
  cache.release(0);
  cache.reserve(1, 40);
  for (std::size_t position = 0; position < 40; ++position) {
    EXPECT_EQ(row_at(cache, 1, 1, position), std::vector<float>(30, 0.0F));
  }
}

TEST(KvCache, RefusesWhatNoAddressSpaceHolds) {
  KvShape shape = kShape;
  shape.token_count_max = std::size_t{1} << 44;
  try {
    const KvCache<float> cache(shape);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::out_of_memory);
  }
}

}  // namespace
}  // namespace cohort
