#include "model/attention.hpp"

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "model/parallel.hpp"

namespace cohort {
namespace {

constexpr std::size_t kTokensMax = 200;

struct Case {
  std::uint32_t head_count = 0;
  std::uint32_t kv_head_count = 0;
  std::uint32_t head_width = 0;
};

/// Keys and values of a few sequences, in a cache and as plain rows.
template <typename T>
class Sequences {
 public:
  explicit Sequences(const Case& shape)
      : shape_(shape),
        cache_({.layer_count = 2,
                .kv_head_count = shape.kv_head_count,
                .head_width = shape.head_width,
                .sequence_count_max = 4,
                .token_count_max = kTokensMax}) {}

  /// Fills sequences 0 to 3 with random tokens, their pages taken in turn.
  void fill() {
    for (std::size_t position = 0; position < kTokensMax; ++position) {
      for (std::size_t sequence = 0; sequence < 4; ++sequence) {
        std::vector<T> row(2 * shape_.kv_head_count * shape_.head_width);
        for (T& value : row) value = random();
        cache_.reserve(sequence, position + 1);
        cache_.store(1, sequence, position, row.data());
        rows_[sequence].push_back(row);
      }
    }
  }

  T random() { return from_f32<T>(distribution_(generator_)); }
  const KvCache<T>& cache() const { return cache_; }

  /// Softmax(q K / sqrt(width)) V over the first `key_count` tokens, in f64.
  std::vector<double> exact(std::size_t sequence, std::size_t kv_head, std::size_t key_count,
                            const T* query) const {
    const std::size_t width = shape_.head_width;
    std::vector<double> weights(key_count);
    for (std::size_t key = 0; key < key_count; ++key) {
      double score = 0;
      for (std::size_t i = 0; i < width; ++i) {
        score += static_cast<double>(to_f32(query[i])) *
                 static_cast<double>(to_f32(rows_[sequence][key][kv_head * width + i]));
      }
      weights[key] = std::exp(score / std::sqrt(static_cast<double>(width)));
    }
    double total = 0;
    for (const double weight : weights) total += weight;
    std::vector<double> result(width, 0.0);
    const std::size_t values = (shape_.kv_head_count + kv_head) * width;
    for (std::size_t key = 0; key < key_count; ++key) {
      for (std::size_t i = 0; i < width; ++i) {
        result[i] +=
            weights[key] / total * static_cast<double>(to_f32(rows_[sequence][key][values + i]));
      }
    }
    return result;
  }

 private:
  Case shape_;
  KvCache<T> cache_;
  std::mt19937 generator_{3};
  std::uniform_real_distribution<float> distribution_{-2, 2};
  std::vector<std::vector<T>> rows_[4];
};

const std::vector<TokenRun> kRuns = {
    {.sequence = 2, .position = 0, .count = 5, .local_row = 0, .token_row = 0},
    {.sequence = 0, .position = 60, .count = 37, .local_row = 5, .token_row = 5},
    {.sequence = 1, .position = 199, .count = 1, .local_row = 42, .token_row = 42},
    {.sequence = 3, .position = 15, .count = 2, .local_row = 43, .token_row = 43},
    {.sequence = 3, .position = 100, .count = 3, .local_row = 45, .token_row = 45},
};
constexpr std::size_t kRowCount = 48;

template <typename T>
void expect_attention(const Case& shape, double tolerance) {
  Sequences<T> sequences(shape);
  sequences.fill();
  const std::size_t width = shape.head_width;
  const std::size_t stride = (shape.head_count + 1) * width;  // rows hold more than queries
  std::vector<T> queries(kRowCount * stride);
  for (T& value : queries) value = sequences.random();
  std::vector<T> output(kRowCount * shape.head_count * width);
  attend(sequences.cache(), 1, kRuns, QueryRows<T>{queries.data(), stride, shape.head_count},
         output.data());
  for (const TokenRun& run : kRuns) {
    for (std::size_t i = 0; i < run.count; ++i) {
      for (std::size_t head = 0; head < shape.head_count; ++head) {
        const std::size_t row = run.local_row + i;
        const auto wanted =
            sequences.exact(run.sequence, head / (shape.head_count / shape.kv_head_count),
                            run.kv_length(i), queries.data() + row * stride + head * width);
        for (std::size_t e = 0; e < width; ++e) {
          ASSERT_NEAR(to_f32(output[(row * shape.head_count + head) * width + e]), wanted[e],
                      tolerance)
              << "row " << row << " head " << head << " element " << e;
        }
      }
    }
  }
}

const std::vector<Case> kCases = {{1, 1, 16}, {3, 1, 64}, {9, 3, 64}, {8, 4, 8}, {4, 4, 20}};

TEST(Attention, F32EqualsTheDefinition) {
  set_compute_threads(2);
  for (const Case& shape : kCases) expect_attention<float>(shape, 2e-5);
}

TEST(Attention, Bf16EqualsTheDefinitionOfItsOperands) {
  set_compute_threads(1);
  for (const Case& shape : kCases) expect_attention<Bf16>(shape, 1.2e-2);
}

TEST(Attention, BitsDoNotDependOnTheBatch) {
  set_compute_threads(1);
  const Case shape{6, 2, 24};
  Sequences<float> sequences(shape);
  sequences.fill();
  const std::size_t row_width = std::size_t{6} * 24;
  std::vector<float> queries(kRowCount * row_width);
  for (float& value : queries) value = sequences.random();
  std::vector<float> together(queries.size());
  attend(sequences.cache(), 1, kRuns, QueryRows<float>{queries.data(), row_width, 6},
         together.data());
  for (const TokenRun& run : kRuns) {
    for (std::size_t i = 0; i < run.count; ++i) {
      const TokenRun alone{.sequence = run.sequence,
                           .position = run.position + i,
                           .count = 1,
                           .local_row = 0,
                           .token_row = 0};
      const std::size_t row = run.local_row + i;
      std::vector<float> output(row_width);
      attend(sequences.cache(), 1, {&alone, 1},
             QueryRows<float>{queries.data() + row * row_width, row_width, 6}, output.data());
      EXPECT_TRUE(std::equal(output.begin(), output.end(),
                             together.begin() + static_cast<std::ptrdiff_t>(row * row_width)))
          << "row " << row;
    }
  }
}

TEST(Attention, LargeScoresDoNotOverflow) {
  set_compute_threads(1);
  KvCache<float> cache({.layer_count = 1,
                        .kv_head_count = 1,
                        .head_width = 4,
                        .sequence_count_max = 1,
                        .token_count_max = 32});
  cache.reserve(0, 20);
  for (std::size_t position = 0; position < 20; ++position) {
    const float key = position == 7 ? 1000.0F : -1000.0F;
    const auto value = static_cast<float>(position);
    const std::vector<float> row = {key, key, key, key, value, value, value, value};
    cache.store(0, 0, position, row.data());
  }
  const std::vector<float> query = {100, 100, 100, 100};
  const TokenRun run{.sequence = 0, .position = 19, .count = 1, .local_row = 0, .token_row = 0};
  std::vector<float> output(4);
  attend(cache, 0, {&run, 1}, QueryRows<float>{query.data(), 4, 1}, output.data());
  EXPECT_EQ(output, std::vector<float>(4, 7.0F));
}

}  // namespace
}  // namespace cohort
