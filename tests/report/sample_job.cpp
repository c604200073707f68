#include "report/sample_job.hpp"

#include <algorithm>
#include <array>

#include "report/job_ledger.hpp"

namespace cohort::test {

namespace {

constexpr double kTickS = 1e-9;

/// One call of every layer.
struct CallKind {
  GroupKind group;
  Op op;
  Path path;
  Reason reason;
  std::uint64_t bytes;
  std::uint64_t copied_bytes;
};

constexpr std::array kCallKinds = {
    CallKind{GroupKind::attn_cp, Op::all_gather, Path::host_direct, Reason::ok, 49'152, 0},
    CallKind{GroupKind::attn_tp, Op::all_reduce, Path::host_inline, Reason::ok, 4'608, 0},
    CallKind{GroupKind::tp, Op::all_gatherv, Path::host_direct, Reason::operand_not_in_heap, 18'432,
             18'432},
    CallKind{GroupKind::tp, Op::reduce_scatterv, Path::host_staged, Reason::over_budget, 73'728,
             73'728},
};

Plan sample_plan(const LayoutSizes& sizes) {
  Plan plan(Layout{sizes});
  static_cast<void>(plan.slot(
      "kv_rows",
      {.groups = {GroupKind::attn_cp}, .rows_max = 512, .row_elements = 384, .depth = 2}));
  static_cast<void>(plan.slot(
      "attention_output",
      {.groups = {GroupKind::attn_tp}, .rows_max = 512, .row_elements = 576, .depth = 2}));
  static_cast<void>(plan.slot(
      "candidates",
      {.groups = {GroupKind::tp}, .dtype = DType::i32, .rows_max = 64, .row_elements = 2}));
  for (std::uint32_t stage = 0; sizes.pp > 1 && stage < sizes.pp; ++stage) {
    static_cast<void>(plan.slot("stage_" + std::to_string(stage), {.groups = {GroupKind::attn},
                                                                   .rows_max = 64 * (1 + stage),
                                                                   .row_elements = 576,
                                                                   .stage = stage}));
  }
  constexpr std::size_t kPoolBytes = std::size_t{4} << 20U;
  static_cast<void>(plan.pool("activations", {{GroupKind::tp}, kPoolBytes, kPoolBytes / 2}));
  return plan;
}

/// Some number from 0 to `below` - 1, the same every time.
std::uint64_t scattered(std::uint64_t seed, std::uint64_t below) {
  std::uint64_t mixed = seed * 0x9E3779B97F4A7C15U;
  mixed ^= mixed >> 29U;
  mixed *= 0xBF58476D1CE4E5B9U;
  return (mixed >> 33U) % below;
}

collectives::RecordedCall record_of(const CallKind& kind, bool alone, std::uint64_t seed) {
  collectives::RecordedCall call;
  call.group = kind.group;
  call.op = kind.op;
  call.path = alone ? Path::local : kind.path;
  call.reason = alone ? Reason::group_size_one : kind.reason;
  call.bytes = kind.bytes;
  call.copied_bytes = alone ? 0 : kind.copied_bytes;
  call.wait_ticks = alone ? 0 : 2'000 + scattered(seed, 90'000);
  call.total_ticks = call.wait_ticks + 1'000 + kind.bytes / 2;
  return call;
}

void add_to_ledger(std::vector<LedgerRow>& ledger, const collectives::RecordedCall& call,
                   std::span<const WorldRank> ranks) {
  const auto same = [&](const LedgerRow& row) {
    return row.group == call.group && row.op == call.op && row.path == call.path &&
           row.reason == call.reason;
  };
  auto row = std::find_if(ledger.begin(), ledger.end(), same);
  if (row == ledger.end()) {
    ledger.push_back({call.group, {ranks.begin(), ranks.end()}, call.op, call.path, call.reason});
    row = ledger.end() - 1;
  }
  ++row->calls;
  row->bytes += call.bytes;
  row->copied_bytes += call.copied_bytes;
  row->wait_s += static_cast<double>(call.wait_ticks) * kTickS;
  row->transfer_s += static_cast<double>(call.total_ticks - call.wait_ticks) * kTickS;
}

}  // namespace

SampleJob sample_job(const LayoutSizes& sizes, std::uint32_t layers) {
  SampleJob job{sample_plan(sizes), {}, {}};
  const Layout& layout = job.plan.layout();
  std::vector<std::vector<LedgerRow>> ledgers;
  for (std::uint32_t rank = 0; rank < layout.world_size(); ++rank) {
    auto& ledger = ledgers.emplace_back();
    RankTimeline& timeline = job.timelines.emplace_back();
    std::uint64_t now = scattered(rank, 40'000);
    for (std::uint32_t layer = 0; layer < layers; ++layer) {
      for (const CallKind& kind : kCallKinds) {
        const auto ranks = layout.group_of(kind.group, WorldRank{rank});
        const std::uint64_t seed = (std::uint64_t{rank} << 20U) + timeline.calls.size();
        collectives::RecordedCall call = record_of(kind, ranks.size() == 1, seed);
        call.begin_ticks = now;
        timeline.calls.push_back({static_cast<double>(now) * kTickS,
                                  static_cast<double>(call.total_ticks) * kTickS,
                                  static_cast<double>(call.wait_ticks) * kTickS, call});
        add_to_ledger(ledger, call, ranks);
        now += call.total_ticks + 20'000 + scattered(seed + 7, 200'000);
      }
    }
    timeline.dropped = rank == 0 ? 12 : 0;
  }
  job.communication = merge_ledgers(ledgers);
  return job;
}

}  // namespace cohort::test
