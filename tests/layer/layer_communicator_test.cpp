#include <bit>

#include <gtest/gtest.h>

#include <cohort/cohort.hpp>
#include <cohort/layer_communicator.hpp>

#include "layer/layouts.hpp"
#include "support/over_fake.hpp"
#include "support/ranks.hpp"

namespace cohort {
namespace {

using test::attention_layouts;
using test::kEverywhere;
using test::kReplica;
using test::name_of;
using test::RankMode;

/// Narrow rows travel inline with their headers, wide ones are read where they lie.
struct Widths {
  std::size_t hidden;
  std::size_t kv;
};
constexpr Widths kNarrow{5, 3};
constexpr Widths kWide{401, 601};

LayerSpec spec_of(const Widths& widths, DType dtype = DType::f32) {
  return {.dtype = dtype,
          .hidden_elements = widths.hidden,
          .kv_elements = widths.kv,
          .attention_rows_max = 40,
          .replica_rows_max = 50,
          .batch_rows_max = 90,
          .last_rows_max = 30};
}

/// Element `column` of batch row `row`; small integers, so that sums are exact in bf16 too.
int value_of(std::size_t row, std::size_t column, int salt) {
  return static_cast<int>((row * 5 + column * 3 + static_cast<std::size_t>(salt)) % 7);
}

void store(const Tensor& rows, std::size_t index, int value) {
  if (rows.dtype == DType::f32) {
    static_cast<float*>(rows.data)[index] = static_cast<float>(value);
  } else {
    static_cast<std::uint16_t*>(rows.data)[index] =
        static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(static_cast<float>(value)) >> 16);
  }
}

float load(const ConstTensor& rows, std::size_t index) {
  if (rows.dtype == DType::f32) return static_cast<const float*>(rows.data)[index];
  const std::uint32_t bits = static_cast<const std::uint16_t*>(rows.data)[index];
  return std::bit_cast<float>(bits << 16);
}

/// Writes rows `range` of the batch, each element times `factor`.
void fill(const Tensor& rows, RowRange range, std::size_t width, int salt, int factor) {
  ASSERT_EQ(rows.elements, range.count * width);
  for (std::size_t i = 0; i < rows.elements; ++i) {
    store(rows, i, factor * value_of(range.first + i / width, i % width, salt));
  }
}

void expect(const ConstTensor& rows, RowRange range, std::size_t width, int salt, int factor) {
  ASSERT_EQ(rows.elements, range.count * width);
  for (std::size_t i = 0; i < rows.elements; ++i) {
    ASSERT_EQ(load(rows, i),
              static_cast<float>(factor * value_of(range.first + i / width, i % width, salt)))
        << "row " << range.first + i / width << " column " << i % width;
  }
}

/// Factors 1, 2, .. of the members add up to this.
int factor_sum(std::uint32_t members) {
  return static_cast<int>(members * (members + 1) / 2);
}

class Step {
 public:
  Step(const Layout& layout, WorldRank rank, const Widths& widths, LayerCommunicator& layers,
       const BatchRows& rows, const BatchRows& last_rows)
      : layout_(layout),
        rank_(rank),
        widths_(widths),
        layers_(layers),
        rows_(rows),
        last_rows_(last_rows) {
    layers.begin_step(rows, last_rows);
    attention_ = rows.range(layout, rows.attention(), rank);
    batch_ = rows.range(layout, kEverywhere, rank);
  }

  void run_layer(int salt) {
    fill(layers_.kv_rows(), attention_, widths_.kv, salt, 1);
    expect(layers_.gather_kv_rows(), rows_.range(layout_, kReplica, rank_), widths_.kv, salt, 1);

    const int head = static_cast<int>(layout_.attn_tp_rank(rank_)) + 1;
    fill(layers_.attention_output(), attention_, widths_.hidden, salt + 1, head);
    expect(layers_.complete_attention_output(), attention_, widths_.hidden, salt + 1,
           factor_sum(layout_.attn_tp()));

    const Tensor normed = layers_.mlp_input();
    fill(normed, attention_, widths_.hidden, salt + 2, 1);
    expect(layers_.gather_mlp_input(), batch_, widths_.hidden, salt + 2, 1);
    expect(normed, attention_, widths_.hidden, salt + 2, 1);  // a gather leaves its operand alone

    const int column = static_cast<int>(rank_.index() % layout_.sizes().tp) + 1;
    fill(layers_.mlp_output(), batch_, widths_.hidden, salt + 3, column);
    expect(layers_.complete_mlp_output(), attention_, widths_.hidden, salt + 3,
           factor_sum(layout_.sizes().tp));
  }

  void run_last_rows() {
    fill(layers_.last_rows(), last_rows_.range(layout_, last_rows_.attention(), rank_),
         widths_.hidden, 2, 1);
    expect(layers_.gather_last_rows(), last_rows_.range(layout_, kEverywhere, rank_),
           widths_.hidden, 2, 1);
  }

 private:
  const Layout& layout_;
  WorldRank rank_;
  Widths widths_;
  LayerCommunicator& layers_;
  const BatchRows& rows_;
  const BatchRows& last_rows_;
  RowRange attention_;
  RowRange batch_;
};

/// Rows by chunk or by replica: none, one, uneven, with holes.
std::vector<std::size_t> counts_of(std::size_t parts, std::size_t pattern) {
  std::vector<std::size_t> counts(parts, pattern == 0 ? 0 : 1);
  for (std::size_t i = 0; pattern > 1 && i < parts; ++i) {
    counts[i] = pattern == 2 ? (i == 0 ? 17 : i % 3) : i * 7 % 5;
  }
  return counts;
}

void run_steps(const Layout& layout, WorldRank rank, const Widths& widths,
               LayerCommunicator& layers) {
  const std::size_t replicas = layout.sizes().attn_dp;
  const std::size_t chunks = replicas * layout.sizes().attn_cp;
  for (std::size_t pattern = 0; pattern < 4; ++pattern) {
    const auto by_replica = BatchRows::by_replica(layout, counts_of(replicas, pattern));
    const auto last_by_replica = BatchRows::by_replica(layout, counts_of(replicas, pattern % 2));
    Step decode(layout, rank, widths, layers, by_replica, last_by_replica);
    for (int layer = 0; layer < 3; ++layer) decode.run_layer(layer);
    decode.run_last_rows();
    const auto by_chunk = BatchRows::by_chunk(layout, counts_of(chunks, pattern));
    const auto last_by_chunk = BatchRows::by_chunk(layout, counts_of(chunks, pattern % 2));
    Step prefill(layout, rank, widths, layers, by_chunk, last_by_chunk);
    for (int layer = 0; layer < 3; ++layer) prefill.run_layer(layer);
    prefill.run_last_rows();
  }
}

/// "" or what the ledger shows that must not be.
std::string ledger_fault(const Session& session, Symmetry symmetry) {
  const Memory memory = session.plan().options().memory;
  for (const LedgerRow& row : session.ledger()) {
    const bool single = row.path == Path::local && row.reason == Reason::group_size_one;
    const bool symmetric = row.reason == Reason::ok && row.copied_bytes == 0 &&
                           memory_of(row.path) == memory && row.path != Path::host_staged;
    const bool staged = row.path == Path::host_staged && row.reason == Reason::disabled;
    if (single || (symmetry == Symmetry::on ? symmetric : staged)) continue;
    return std::string(to_string(row.group)) + " " + std::string(to_string(row.op)) + " took " +
           std::string(to_string(row.path)) + ", " + std::string(to_string(row.reason));
  }
  return "";
}

/// Narrow rows take both paths of the heap, wide ones that of operands read where they lie.
void expect_paths(const Session& session, const Layout& layout, const Widths& widths) {
  bool direct = false;
  bool with_header = false;
  for (const LedgerRow& row : session.ledger()) {
    direct |= row.path == Path::host_direct;
    with_header |= row.path == Path::host_inline;
  }
  const bool shares_memory =
      session.plan().options().symmetry == Symmetry::on && layout.sizes().tp > 1;
  if (widths.hidden == kWide.hidden) {
    EXPECT_EQ(direct, shares_memory);
  } else {
    EXPECT_EQ(with_header, shares_memory);
  }
}

void run_world(RankMode mode, const Layout& layout, const Widths& widths, DType dtype = DType::f32,
               Symmetry symmetry = Symmetry::on, Memory memory = Memory::host) {
  SCOPED_TRACE(name_of(layout));
  const auto results = test::run_ranks(mode, layout.world_size(), [&](World& world) {
    Plan plan(layout, {.symmetry = symmetry, .strict = symmetry == Symmetry::on, .memory = memory});
    const LayerSlots slots = plan_layers(plan, spec_of(widths, dtype));
    Session session = commit(world, plan);
    LayerCommunicator layers(session, slots, world.rank());
    run_steps(layout, world.rank(), widths, layers);
    EXPECT_EQ(ledger_fault(session, symmetry), "");
    EXPECT_EQ(session.registrations_since_commit(), 0U);
    if (memory == Memory::host) expect_paths(session, layout, widths);
    session.close();
    return std::string();
  });
  test::expect_no_errors(results);
}

class LayersOfSize : public testing::TestWithParam<std::uint32_t> {};

TEST_P(LayersOfSize, MoveRowsInEveryLayout) {
  for (const Layout& layout : attention_layouts(8)) {
    if (layout.sizes().tp != GetParam()) continue;
    run_world(RankMode::threads, layout, kNarrow);
    run_world(RankMode::threads, layout, kWide);
  }
}

TEST_P(LayersOfSize, MoveRowsOnGpus) {
  for (const Layout& layout : attention_layouts(8)) {
    if (layout.sizes().tp != GetParam()) continue;
    run_world(RankMode::threads, layout, kNarrow, DType::f32, Symmetry::on, Memory::cuda);
    run_world(RankMode::threads, layout, kWide, DType::bf16, Symmetry::on, Memory::cuda);
  }
}

INSTANTIATE_TEST_SUITE_P(Ranks, LayersOfSize, testing::Range(1U, 9U),
                         testing::PrintToStringParamName());

TEST(LayerCommunicator, MovesBf16) {
  run_world(RankMode::threads, Layout({.tp = 4, .attn_dp = 2}), kWide, DType::bf16);
}

TEST(LayerCommunicator, MovesBetweenProcesses) {
  run_world(RankMode::processes, Layout({.tp = 4, .attn_dp = 2, .attn_cp = 2}), kWide);
}

TEST(LayerCommunicator, MovesOnGpusBetweenProcesses) {
  run_world(RankMode::processes, Layout({.tp = 4, .attn_dp = 2, .attn_cp = 2}), kWide, DType::f32,
            Symmetry::on, Memory::cuda);
}

TEST(LayerCommunicator, GivesTheSameThroughStaging) {
  run_world(RankMode::threads, Layout({.tp = 8, .attn_dp = 2, .attn_cp = 2}), kWide, DType::f32,
            Symmetry::off);
}

/// How many calls took the promised paths, and how many were staged over budget.
struct PoolCalls {
  std::uint64_t promised = 0;
  std::uint64_t over_budget = 0;
  std::uint64_t over_budget_bytes = 0;
  std::uint64_t other = 0;
};

PoolCalls calls_of(const Session& session) {
  PoolCalls calls;
  for (const LedgerRow& row : session.ledger()) {
    if (row.reason == Reason::over_budget && row.path == Path::host_staged) {
      calls.over_budget += row.calls;
      calls.over_budget_bytes += row.bytes;
    } else if (row.reason == Reason::ok || row.reason == Reason::group_size_one) {
      calls.promised += row.calls;
    } else {
      calls.other += row.calls;
    }
  }
  return calls;
}

void run_in_pool(const Layout& layout, std::size_t missing_bytes, Memory memory = Memory::host) {
  SCOPED_TRACE(name_of(layout));
  const auto results = test::run_ranks(RankMode::threads, layout.world_size(), [&](World& world) {
    LayerSpec spec = spec_of(kWide);
    spec.pool = LayerPool{};
    if (missing_bytes != 0) {
      Plan needs(layout);
      const LayerSlots needed = plan_layers(needs, spec);
      spec.pool->bytes = needs.pool(needed.pool.value()).bytes - missing_bytes;
    }
    Plan plan(layout, {.strict = missing_bytes == 0, .memory = memory});
    const LayerSlots slots = plan_layers(plan, spec);
    Session session = commit(world, plan);
    LayerCommunicator layers(session, slots, world.rank());
    run_steps(layout, world.rank(), kWide, layers);
    session.verify();
    const PoolCalls calls = calls_of(session);
    EXPECT_GT(calls.promised, 0U);
    EXPECT_EQ(calls.other, 0U);
    EXPECT_EQ(calls.over_budget != 0, missing_bytes != 0);
    EXPECT_EQ(calls.over_budget_bytes != 0, missing_bytes != 0);
    EXPECT_EQ(session.registrations_since_commit(), 0U);
    session.close();
    return std::string();
  });
  test::expect_no_errors(results);
}

TEST(LayerCommunicator, BoundariesMayShareAPool) {
  for (const LayoutSizes& sizes : std::vector<LayoutSizes>{
           {.tp = 3}, {.tp = 4, .attn_dp = 4}, {.tp = 8, .attn_dp = 2, .attn_cp = 2}}) {
    run_in_pool(Layout(sizes), 0);
    run_in_pool(Layout(sizes), 0, Memory::cuda);
  }
}

TEST(LayerCommunicator, APoolAPageTooSmallGivesTheSameOverBudget) {
  for (const LayoutSizes& sizes :
       std::vector<LayoutSizes>{{.tp = 3}, {.tp = 8, .attn_dp = 2, .attn_cp = 2}}) {
    run_in_pool(Layout(sizes), 4096);
  }
}

TEST(LayerCommunicator, EveryPipelineStageMovesItsOwnRows) {
  run_world(RankMode::threads, Layout({.tp = 2, .attn_dp = 2, .pp = 2}), kWide);
}

std::string slots_text(const LayoutSizes& sizes, Memory memory = Memory::host) {
  Plan plan(Layout(sizes), {.memory = memory});
  (void)plan_layers(plan, spec_of(kNarrow));
  std::string text;
  for (const PlannedSlot& slot : plan.slots()) {
    text += slot.name;
    for (const GroupKind group : slot.spec.groups) text.append(" ").append(to_string(group));
    text.append(" ").append(std::to_string(slot.spec.rows_max)).append("; ");
  }
  return text;
}

TEST(LayerCommunicator, PlansOnlySlotsThatTheLayoutNeeds) {
  EXPECT_EQ(slots_text({}), "");
  EXPECT_EQ(slots_text({.tp = 2}), "attention_output attn_tp 40; mlp_output tp 90; ");
  EXPECT_EQ(slots_text({.tp = 2, .attn_dp = 2}),
            "mlp_input tp 90; mlp_output tp 90; last_rows tp 30; ");
  EXPECT_EQ(slots_text({.tp = 8, .attn_dp = 2, .attn_cp = 2}),
            "kv_rows attn_cp 50; attention_output attn_tp 40; mlp_input tp 90; mlp_output tp 90; "
            "mlp_output_sum tp attn attn_tp 40; last_rows tp 30; ");
}

TEST(LayerCommunicator, PlansAllRowsInMemoryOfTheGpu) {
  EXPECT_EQ(slots_text({}, Memory::cuda),
            "kv_rows attn_cp 50; attention_output attn_cp 40; mlp_input attn_cp 90; "
            "mlp_output attn_cp 90; last_rows attn_cp 30; ");
  EXPECT_EQ(slots_text({.tp = 2, .attn_cp = 2}, Memory::cuda),
            "kv_rows attn_cp 50; attention_output attn_tp 40; mlp_input tp 90; mlp_output tp 90; "
            "last_rows tp 30; ");
}

template <typename Call>
void expect_usage(const std::string& message, const Call& call) {
  try {
    call();
    ADD_FAILURE() << "accepted: " << message;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::usage);
    EXPECT_EQ(error.what(), message);
  }
}

TEST(LayerCommunicator, RefusesStepsThatWereNotPlanned) {
  const Layout layout({.tp = 2, .attn_dp = 2});
  const auto results = test::run_ranks(RankMode::threads, 2, [&](World& world) {
    Plan plan(layout);
    const LayerSlots slots = plan_layers(plan, spec_of(kNarrow));
    Session session = commit(world, plan);
    LayerCommunicator layers(session, slots, world.rank());
    const auto rows = [&](std::size_t first, std::size_t second) {
      return BatchRows::by_replica(layout, std::vector<std::size_t>{first, second});
    };
    const auto none = rows(0, 0);
    expect_usage("91 rows in a step planned for 90",
                 [&] { layers.begin_step(rows(46, 45), none); });
    // Told on every rank, not only on the one that has them.
    expect_usage("51 rows of one replica in a step planned for 50",
                 [&] { layers.begin_step(rows(51, 0), none); });
    expect_usage("41 attention rows of one rank in a step planned for 40",
                 [&] { layers.begin_step(rows(1, 41), none); });
    expect_usage("31 last rows in a step planned for 30",
                 [&] { layers.begin_step(rows(31, 1), rows(31, 0)); });
    expect_usage("rows and last rows must both be counted by replica or both by chunk", [&] {
      layers.begin_step(rows(1, 1), BatchRows::by_chunk(layout, std::vector<std::size_t>{1, 1}));
    });
    layers.begin_step(rows(1, 1), none);
    expect_usage("rows of a layer boundary are completed before they were asked for",
                 [&] { (void)layers.gather_mlp_input(); });
    LayerSlots others = slots;
    others.boundaries[3].rows = SlotId{0};
    expect_usage("slot 'mlp_output' of the layers is not in the session's plan",
                 [&] { LayerCommunicator(session, others, world.rank()); });
    expect_usage("layers on host memory run in no stream", [&] { layers.on({}); });
    session.close();
    return std::string();
  });
  test::expect_no_errors(results);
}

/// One step of a layer, without values.
void run_boundaries(LayerCommunicator& layers) {
  (void)layers.attention_output();
  (void)layers.complete_attention_output();
  (void)layers.mlp_input();
  (void)layers.gather_mlp_input();
  (void)layers.mlp_output();
  (void)layers.complete_mlp_output();
}

std::uint64_t calls_in(const Session& session) {
  std::uint64_t calls = 0;
  for (const LedgerRow& row : session.ledger()) calls += row.calls;
  return calls;
}

TEST(LayerCommunicator, AStepIsCapturedAndReplayedWithOtherValues) {
  const Layout layout({.tp = 4, .attn_dp = 2});
  const auto results = test::run_ranks(RankMode::threads, 4, [&](World& world) {
    Plan plan(layout, {.strict = true, .memory = Memory::cuda});
    const LayerSlots slots = plan_layers(plan, spec_of(kWide));
    Session session = commit(world, plan);
    LayerCommunicator layers(session, slots, world.rank());
    test::FakeStream stream;
    layers.on(stream.handle());
    const auto rows = BatchRows::by_replica(layout, std::vector<std::size_t>{3, 0});
    layers.begin_step(rows, rows);
    const RowRange own = rows.range(layout, rows.attention(), world.rank());
    const RowRange batch{0, 3};

    stream.begin_capture();
    const Tensor input = layers.mlp_input();
    const ConstTensor gathered = layers.gather_mlp_input();
    const Tensor addend = layers.mlp_output();
    const ConstTensor sum = layers.complete_mlp_output();
    const auto replay = stream.end_capture();
    const std::uint64_t before = calls_in(session);
    for (int salt = 0; salt < 5; ++salt) {
      fill(input, own, kWide.hidden, salt, 1);
      fill(addend, batch, kWide.hidden, salt + 1, 1);
      replay();
      session.wait(stream.handle());
      expect(gathered, batch, kWide.hidden, salt, 1);
      expect(sum, own, kWide.hidden, salt + 1, 4);
    }
    // The ledger counts what ran, not what was captured.
    EXPECT_EQ(calls_in(session) - before, 5U * 3);
    session.close();
    return std::string();
  });
  test::expect_no_errors(results);
}

TEST(LayerCommunicator, NothingRunsOnAGpuBeforeTheStreamComesToIt) {
  const Layout layout({.tp = 2, .attn_dp = 2});
  const auto results = test::run_ranks(RankMode::threads, 2, [&](World& world) {
    Plan plan(layout, {.memory = Memory::cuda});
    const LayerSlots slots = plan_layers(plan, spec_of(kNarrow));
    Session session = commit(world, plan);
    LayerCommunicator layers(session, slots, world.rank());
    test::FakeStream stream;
    layers.on(stream.handle());
    const auto rows = BatchRows::by_replica(layout, std::vector<std::size_t>{1, 1});
    layers.begin_step(rows, rows);
    const std::uint64_t before = calls_in(session);
    // More steps than the slots have entries: nobody waits for the device.
    stream.begin_capture();
    for (int step = 0; step < 5; ++step) run_boundaries(layers);
    const auto replay = stream.end_capture();
    EXPECT_EQ(calls_in(session), before);
    replay();
    session.wait(stream.handle());
    EXPECT_EQ(calls_in(session) - before, 5U * 2);
    session.close();
    return std::string();
  });
  test::expect_no_errors(results);
}

}  // namespace
}  // namespace cohort
