// A context-parallel prefill on a session's memory: every rank splits the batch, gathers keys and
// values over attn_cp, and rearranges them into token order.

#include <gtest/gtest.h>

#include <cohort/cohort.hpp>

#include "support/over_fake.hpp"
#include "support/ranks.hpp"

namespace cohort {
namespace {

using test::RankMode;

constexpr std::size_t kWidth = 6;
constexpr std::size_t kRowsMax = 64;

Tensor rows_of(std::vector<float>& values) {
  return {values.data(), values.size(), DType::f32};
}

/// Of rank 1 behind those of rank 0, as `BatchRows::by_chunk` takes them.
BatchRows chunks_of(const Layout& layout, const ContextParallel& split) {
  return BatchRows::by_chunk(layout, split.rows_by_rank());
}

void run_prefill(Session& session, LayerCommunicator& layers, const Layout& layout, WorldRank rank,
                 const std::vector<PrefillSequence>& sequences, float salt) {
  const ContextParallel split(layout.sizes().attn_cp, sequences);
  std::vector<float> tokens(split.total_rows() * kWidth);
  for (std::size_t i = 0; i < tokens.size(); ++i) tokens[i] = salt + static_cast<float>(i);
  const BatchRows rows = chunks_of(layout, split);
  const std::vector<std::size_t> none(layout.sizes().attn_cp, 0);
  layers.begin_step(rows, BatchRows::by_chunk(layout, none));

  const Tensor local = layers.kv_rows();
  session.move(
      row_moves(local, rows_of(tokens), kWidth, split.split_copies(layout.attn_cp_rank(rank))));
  const ConstTensor gathered = layers.gather_kv_rows();
  std::vector<float> arranged(tokens.size(), -1);
  session.move(row_moves(rows_of(arranged), gathered, kWidth, split.token_order_copies()));
  if (session.plan().options().memory == Memory::cuda) session.wait({});
  EXPECT_EQ(arranged, tokens);
}

class ContextMoves : public testing::TestWithParam<Memory> {};

TEST_P(ContextMoves, SplitGatherAndRearrangeGiveTheBatchAgain) {
  for (const std::uint32_t cp : {1U, 2U, 3U, 4U}) {
    SCOPED_TRACE("attn_cp " + std::to_string(cp));
    const Layout layout({.tp = cp, .attn_cp = cp});
    const auto results = test::run_ranks(RankMode::threads, cp, [&](World& world) {
      Plan plan(layout, {.strict = true, .memory = GetParam()});
      const LayerSlots slots = plan_layers(plan, {.hidden_elements = 1,
                                                  .kv_elements = kWidth,
                                                  .attention_rows_max = kRowsMax,
                                                  .replica_rows_max = kRowsMax,
                                                  .batch_rows_max = kRowsMax,
                                                  .last_rows_max = 1});
      Session session = commit(world, plan);
      LayerCommunicator layers(session, slots, world.rank());
      const std::vector<std::vector<PrefillSequence>> batches = {
          {}, {{1, 0}}, {{9, 0}, {10, 3}}, {{0, 4}, {2, 0}, {33, 1}}, {{5, 0}}};
      float salt = 1;
      for (const auto& batch : batches) {
        run_prefill(session, layers, layout, world.rank(), batch, salt);
        salt += 1000;
      }
      session.close();
      return std::string();
    });
    test::expect_no_errors(results);
  }
}

TEST_P(ContextMoves, AStreamIsForGpusOnly) {
  const auto results = test::run_ranks(RankMode::threads, 1, [&](World& world) {
    Plan plan(Layout({}), {.memory = GetParam()});
    Session session = commit(world, plan);
    test::FakeStream stream;
    int from = 7;
    int to = 0;
    const std::vector<LocalMove> moves = {{&to, &from, 1, sizeof(int), 0, 0}};
    if (GetParam() == Memory::host) {
      EXPECT_THROW(session.move(moves, stream.handle()), Error);
    } else {
      stream.begin_capture();
      session.move(moves, stream.handle());
      const auto replay = stream.end_capture();
      EXPECT_EQ(to, 0);
      replay();
      EXPECT_EQ(to, 7);
    }
    session.close();
    return std::string();
  });
  test::expect_no_errors(results);
}

INSTANTIATE_TEST_SUITE_P(Memories, ContextMoves, testing::Values(Memory::host, Memory::cuda),
                         [](const auto& of) { return std::string(to_string(of.param)); });

}  // namespace
}  // namespace cohort
