#include "model/llama.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cohort/bootstrap.hpp>
#include <cohort/error.hpp>
#include <cohort/layer_communicator.hpp>
#include <cohort/session.hpp>
#include <cohort/world.hpp>

#include "model/model_config.hpp"
#include "model/parallel.hpp"
#include "support/golden_model.hpp"

namespace cohort {
namespace {

using test::GoldenLogits;

constexpr std::size_t kRowsMax = 128;

/// A decoder on a world of one rank that gives logits for every row.
class SoloDecoder {
 public:
  explicit SoloDecoder(const std::string& path, DType dtype = DType::f32,
                       RopeLayout rope_layout = RopeLayout::adjacent_pairs)
      : file_(GgufFile::open(path)),
        config_(model_config_from(file_)),
        world_(World::join(Bootstrap::solo())),
        plan_(Layout({})) {
    config_.rope_layout_in_file = rope_layout;
    set_compute_threads(1);
    const LayerSlots slots = plan_layers(plan_, {.dtype = dtype,
                                                 .hidden_elements = config_.hidden_width,
                                                 .kv_elements = std::size_t{2} * config_.kv_width(),
                                                 .attention_rows_max = kRowsMax,
                                                 .replica_rows_max = kRowsMax,
                                                 .batch_rows_max = kRowsMax,
                                                 .last_rows_max = kRowsMax,
                                                 .depth = 1});
    plan_.slot("unused", {.groups = {GroupKind::tp}, .rows_max = 1, .row_elements = 1});
    session_.emplace(commit(world_, plan_));
    communicator_.emplace(*session_, slots, WorldRank{0});
    const LlamaMaxima maxima{.attention_rows = kRowsMax,
                             .batch_rows = kRowsMax,
                             .last_rows = kRowsMax,
                             .sequences = 4,
                             .context_tokens = 256};
    decoder_ = load_llama({file_, config_}, plan_.layout(), WorldRank{0}, dtype, maxima,
                          [](std::size_t, std::size_t) {});
  }
  ~SoloDecoder() { session_->close(); }

  const ModelConfig& config() const { return config_; }
  void release(std::size_t sequence) { decoder_->release(sequence); }

  /// Some tokens of one sequence, the first at `position`.
  struct Piece {
    std::size_t sequence = 0;
    std::size_t position = 0;
    std::vector<TokenId> tokens;
  };

  /// Logits of every row, (rows, vocabulary), of one step.
  std::vector<float> step(const std::vector<Piece>& pieces) {
    std::vector<TokenId> tokens;
    std::vector<TokenRun> runs;
    for (const Piece& piece : pieces) {
      runs.push_back({.sequence = piece.sequence,
                      .position = piece.position,
                      .count = piece.tokens.size(),
                      .local_row = tokens.size(),
                      .token_row = tokens.size()});
      tokens.insert(tokens.end(), piece.tokens.begin(), piece.tokens.end());
    }
    std::vector<std::size_t> last_rows(tokens.size());
    std::iota(last_rows.begin(), last_rows.end(), 0);
    const std::size_t count = tokens.size();
    const BatchRows rows = BatchRows::by_replica(plan_.layout(), {&count, 1});
    communicator_->begin_step(rows, rows);
    const float* logits = decoder_->step({.tokens = tokens,
                                          .runs = runs,
                                          .cached_runs = runs,
                                          .last_rows = last_rows,
                                          .batch_row_count = count,
                                          .batch_last_row_count = count},
                                         *communicator_);
    return {logits, logits + count * config_.vocabulary_count};
  }

 private:
  GgufFile file_;
  ModelConfig config_;
  World world_;
  Plan plan_;
  std::optional<Session> session_;
  std::optional<LayerCommunicator> communicator_;
  std::unique_ptr<LlamaDecoder> decoder_;
};

/// Compares with what transformers computed: every stored logit within `tolerance`, the likeliest
/// token equal wherever the golden margin is more than twice that.
void expect_golden(SoloDecoder& decoder, const GoldenLogits& golden, float tolerance) {
  const std::size_t vocabulary = decoder.config().vocabulary_count;
  float worst = 0;
  std::size_t position_count = 0;
  std::size_t exempt_count = 0;
  for (const auto& prompt : golden.prompts) {
    const auto logits = decoder.step({{0, 0, prompt.ids}});
    decoder.release(0);
    for (std::size_t i = 0; i < prompt.ids.size(); ++i) {
      const float* row = logits.data() + i * vocabulary;
      for (std::size_t k = 0; k < prompt.top_ids[i].size(); ++k) {
        worst = std::max(worst, std::abs(row[prompt.top_ids[i][k]] - prompt.top_logits[i][k]));
      }
      for (std::size_t k = 0; k < golden.fixed_ids.size(); ++k) {
        worst = std::max(worst, std::abs(row[golden.fixed_ids[k]] - prompt.fixed_logits[i][k]));
      }
      ++position_count;
      if (prompt.top_logits[i][0] - prompt.top_logits[i][1] <= 2 * tolerance) {
        ++exempt_count;
        continue;
      }
      EXPECT_EQ(static_cast<std::size_t>(std::max_element(row, row + vocabulary) - row),
                prompt.top_ids[i][0])
          << prompt.name << ", position " << i;
    }
  }
  std::printf("%zu positions, largest difference %.2e, %zu exempt from the comparison of tokens\n",
              position_count, static_cast<double>(worst), exempt_count);
  EXPECT_LE(worst, tolerance);
  EXPECT_LT(exempt_count * 10, position_count) << "hardly anything was compared";
}

TEST(Llama, TinyModelGivesTheLogitsOfTransformers) {
  SoloDecoder decoder(test::tiny_model_path());
  expect_golden(decoder, test::read_golden_logits("tiny_logits.json"), 2e-3F);
}

TEST(Llama, RotaryPairsMayLieEitherWayInTheFile) {
  SoloDecoder decoder(test::tiny_half_split_model_path(), DType::f32, RopeLayout::half_split);
  expect_golden(decoder, test::read_golden_logits("tiny_logits.json"), 2e-3F);
}

TEST(Llama, RealModelGivesTheLogitsOfTransformers) {
  if (test::real_model_path().empty()) GTEST_SKIP() << "COHORT_MODEL names no model file";
  SoloDecoder decoder(test::real_model_path());
  expect_golden(decoder, test::read_golden_logits("smollm2_logits.json"), 2e-3F);
}

std::vector<TokenId> some_tokens(std::size_t count) {
  std::vector<TokenId> tokens(count);
  for (std::size_t i = 0; i < count; ++i) tokens[i] = static_cast<TokenId>((i * 37 + 11) % 300);
  return tokens;
}

float largest_difference(std::span<const float> a, std::span<const float> b) {
  float worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::abs(a[i] - b[i]));
  return worst;
}

TEST(Llama, ChunksOfAPromptGiveWhatTheWholeDoes) {
  SoloDecoder decoder(test::tiny_model_path());
  const auto tokens = some_tokens(45);
  const auto whole = decoder.step({{0, 0, tokens}});
  std::vector<float> joined;
  for (std::size_t begin = 0; begin < tokens.size(); begin += 7) {
    const std::size_t end = std::min(begin + 7, tokens.size());
    const auto part = decoder.step(
        {{1,
          begin,
          {tokens.begin() + static_cast<long>(begin), tokens.begin() + static_cast<long>(end)}}});
    joined.insert(joined.end(), part.begin(), part.end());
  }
  ASSERT_EQ(joined.size(), whole.size());
  EXPECT_LT(largest_difference(joined, whole), 1e-4F);
}

TEST(Llama, SequencesOfABatchDoNotSeeEachOther) {
  SoloDecoder decoder(test::tiny_model_path());
  const auto a = some_tokens(20);
  const std::vector<TokenId> b = {5, 4, 3, 2, 1};
  const auto alone = decoder.step({{0, 0, a}});
  decoder.release(0);
  const auto batch = decoder.step({{2, 0, b}, {0, 0, a}});
  const std::size_t row_of_a = b.size() * decoder.config().vocabulary_count;
  EXPECT_LT(largest_difference(alone, std::span(batch).subspan(row_of_a)), 1e-4F);
}

TEST(Llama, ReleasedPagesLeaveNoTraces) {
  SoloDecoder decoder(test::tiny_model_path());
  const auto tokens = some_tokens(30);
  const auto fresh = decoder.step({{0, 0, tokens}});
  decoder.release(0);
  decoder.step({{1, 0, some_tokens(100)}});
  decoder.release(1);
  EXPECT_EQ(decoder.step({{0, 0, tokens}}), fresh);
}

TEST(Llama, StepWithoutRowsIsLegal) {
  SoloDecoder decoder(test::tiny_model_path());
  EXPECT_TRUE(decoder.step({}).empty());
}

TEST(Llama, Bf16StaysCloseToF32) {
  SoloDecoder exact(test::tiny_model_path());
  std::unique_ptr<SoloDecoder> rounded;
  try {
    rounded = std::make_unique<SoloDecoder>(test::tiny_model_path(), DType::bf16);
  } catch (const Error& error) {
    ASSERT_EQ(error.code(), ErrorCode::unsupported);
    GTEST_SKIP() << error.what();
  }
  const auto tokens = some_tokens(40);
  const auto wanted = exact.step({{0, 0, tokens}});
  const auto got = rounded->step({{0, 0, tokens}});
  double error = 0;
  double size = 0;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    error += std::pow(static_cast<double>(got[i] - wanted[i]), 2);
    size += std::pow(static_cast<double>(wanted[i]), 2);
  }
  EXPECT_LT(std::sqrt(error / size), 0.03);
  EXPECT_GT(error, 0) << "computed in f32 after all";
}

TEST(Llama, RefusesALayoutThatTheModelDoesNotFit) {
  const GgufFile file = GgufFile::open(test::tiny_model_path());
  const ModelConfig config = model_config_from(file);
  const Layout layout({.tp = 3});
  try {
    load_llama({file, config}, layout, WorldRank{0}, DType::f32, {},
               [](std::size_t, std::size_t) {});
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::usage);
    EXPECT_THAT(error.what(), ::testing::HasSubstr("--tp 3"));
  }
}

TEST(Llama, ProgressMayEndTheLoading) {
  const GgufFile file = GgufFile::open(test::tiny_model_path());
  const ModelConfig config = model_config_from(file);
  const LlamaMaxima maxima{1, 1, 1, 1, 16};
  std::size_t last_done = 0;
  std::size_t total = 0;
  const auto count = [&](std::size_t done, std::size_t all) {
    EXPECT_EQ(done, last_done + 1);
    last_done = done;
    total = all;
  };
  load_llama({file, config}, Layout({}), WorldRank{0}, DType::f32, maxima, count);
  EXPECT_EQ(last_done, total);
  const auto give_up = [](std::size_t done, std::size_t) {
    if (done == 3) throw Error(ErrorCode::peer_failed, "rank 1 died");
  };
  EXPECT_THROW(load_llama({file, config}, Layout({}), WorldRank{0}, DType::f32, maxima, give_up),
               Error);
}

}  // namespace
}  // namespace cohort
