// Ranks hold different numbers of rows.

#include <numeric>

#include "base/bytes.hpp"
#include "faults/catalog.hpp"
#include "faults/cohort_ranks.hpp"
#include "faults/naive.hpp"

namespace cohort::faults {
namespace {

constexpr std::size_t kWidth = 64;
constexpr std::size_t kRowsMax = 64;

/// Elements of each rank: equal ones, or those of a batch in which one rank has no rows at all.
std::vector<std::size_t> counts_of(std::uint32_t ranks, bool ragged) {
  std::vector<std::size_t> counts(ranks, kRowsMax * kWidth);
  for (std::uint32_t i = 0; ragged && i < ranks; ++i) {
    counts[i] = (i * kRowsMax / (ranks - 1)) * kWidth;
  }
  return counts;
}

std::vector<float> wanted_rows(std::span<const std::size_t> counts) {
  std::vector<float> rows;
  for (std::uint32_t i = 0; i < counts.size(); ++i) {
    rows.insert(rows.end(), counts[i], naive::contribution(i));
  }
  return rows;
}

Observation naive_way(const Setting& setting) {
  SharedRegion region;
  const auto memory = naive::memory_of_ranks(region, setting.ranks, 2 * kRowsMax * kWidth);
  naive::Group tp = naive::group_of(layout_of(setting), GroupKind::tp, 0, region);
  const auto ends = run_ranks(setting.ranks, naive_watchdog(setting), [&](Rank& rank) {
    naive::Pool pool(memory[rank.index()]);
    tp.register_window(rank, pool.memory(), "registering");
    std::array<std::uint64_t, 2> copied{};
    for (const bool ragged : {false, true}) {
      const auto counts = counts_of(setting.ranks, ragged);
      const auto block = pool.allocate(kRowsMax * kWidth);
      const auto rows = block.first(counts[rank.index()]);
      std::fill(rows.begin(), rows.end(), naive::contribution(rank.index()));
      std::vector<float> all(setting.ranks * kRowsMax * kWidth);
      // Ranks that allocate different sizes would soon lie at different offsets: switch it off.
      const bool symmetric = !ragged;
      const std::uint64_t before = rank.copied_bytes();
      tp.all_gather(rank, rows, counts, all.data(), symmetric, "all_gather");
      copied[ragged ? 1 : 0] = rank.copied_bytes() - before;
      rank.expect("the gathered rows", all, wanted_rows(counts));
    }
    if (rank.index() == 0) return;  // has no rows in the ragged batch
    rank.say("the padded batch copied " + format_bytes(copied[0]) + ", the ragged one " +
             format_bytes(copied[1]));
  });
  return judge_naive(ends);
}

Observation our_way(const Setting& setting) {
  const auto ends = run_cohort(setting, limits_of(setting), [&](World& world, Rank& rank) {
    Plan plan(layout_of(setting));
    SlotSpec spec = rows_for({GroupKind::tp});
    spec.row_elements = kWidth;
    spec.rows_max = kRowsMax;
    const SlotId mine = plan.slot("local_rows", spec);
    spec.rows_max = kRowsMax * setting.ranks;
    const SlotId all = plan.slot("global_rows", spec);
    Session session = commit(world, plan);
    const Group tp = session.group(GroupKind::tp);
    std::string verdicts;
    for (const bool ragged : {false, true}) {
      const auto counts = counts_of(setting.ranks, ragged);
      const std::size_t total = std::accumulate(counts.begin(), counts.end(), std::size_t{0});
      const Buffer rows = session.take(mine);
      const Buffer gathered = session.take(all);
      fill(rows, rank.index());
      const Verdict verdict =
          tp.all_gatherv(rows.elements(counts[rank.index()]), gathered.elements(total), counts);
      rank.expect("the gathered rows", floats(gathered), wanted_rows(counts));
      if (verdict != Verdict{Path::host_direct}) rank.wrong("a slow path: " + describe(verdict));
      verdicts += (ragged ? "; ragged " : "equal rows ") + describe(verdict);
    }
    session.close();
    rank.say(verdicts);
  });
  return judge_right(ends);
}

}  // namespace

Fault ragged_batch() {
  return {.name = "ragged-batch",
          .what = "a batch is not padded, and symmetry is lost",
          .engines =
              "memory counts as symmetric only if all ranks allocate the same sizes, so unequal "
              "rows take the path for any memory",
          .why =
              "A slot is planned for its largest row count and lies where it lies; the true counts "
              "travel with the call.",
          .naive = naive_way,
          .ours = our_way};
}

}  // namespace cohort::faults
