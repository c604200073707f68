// One rank skips, adds or resizes a call.

#include <array>

#include "faults/catalog.hpp"
#include "faults/cohort_ranks.hpp"
#include "faults/naive.hpp"

namespace cohort::faults {
namespace {

enum class Change { skip, leave_out_last, add, resize };

constexpr std::uint32_t kOther = 1;  // the rank that does something else
constexpr std::uint32_t kCalls = 4;  // attention and MLP of two layers
constexpr std::uint32_t kChanged = 1;

constexpr float scale_of(std::uint32_t call) {
  return static_cast<float>(call + 1);
}

std::string name_of(std::uint32_t call) {
  return std::string(call % 2 == 0 ? "attention" : "MLP") + " of layer " + std::to_string(call / 2);
}

/// The calls that a rank makes, as (call, elements).
struct Step {
  std::uint32_t call;
  std::size_t elements;
};

std::vector<Step> program_of(std::uint32_t rank, Change change) {
  std::vector<Step> steps;
  for (std::uint32_t call = 0; call < kCalls; ++call) {
    const std::uint32_t changed = change == Change::leave_out_last ? kCalls - 1 : kChanged;
    if (rank != kOther || call != changed) {
      steps.push_back({call, kElements});
    } else if (change == Change::add) {
      steps.push_back({call - 1, kElements});
      steps.push_back({call, kElements});
    } else if (change == Change::resize) {
      steps.push_back({call, kElements / 2});
    }
  }
  return steps;
}

template <Change kChange>
Observation naive_way(const Setting& setting) {
  SharedRegion region;
  const auto memory = naive::memory_of_ranks(region, setting.ranks, 4 * kElements);
  naive::Group tp = naive::group_of(layout_of(setting), GroupKind::tp, 0, region);
  const auto ends = run_ranks(setting.ranks, naive_watchdog(setting), [&](Rank& rank) {
    naive::Pool pool(memory[rank.index()]);
    tp.register_window(rank, pool.memory(), "registering");
    const std::array<std::span<float>, 2> rows = {pool.allocate(kElements),
                                                  pool.allocate(kElements)};
    std::vector<float> sum(kElements);
    for (const auto& [call, elements] : program_of(rank.index(), kChange)) {
      const auto operand = rows[call % 2].first(elements);
      std::fill(operand.begin(), operand.end(), naive::contribution(rank.index(), scale_of(call)));
      tp.all_reduce(rank, operand, sum.data(), "all_reduce, " + name_of(call) + ",");
      rank.expect(name_of(call), std::span(sum).first(elements), tp.wanted_sum(scale_of(call)));
    }
  });
  return judge_naive(ends);
}

template <Change kChange>
Observation our_way(const Setting& setting) {
  // Only a call that nobody else makes has to be waited for.
  constexpr bool kNeverMade = kChange == Change::leave_out_last;
  const WaitLimits limits =
      limits_of(setting, std::chrono::milliseconds(kNeverMade ? 1'000 : 10'000));
  const auto ends = run_cohort(setting, limits, [&](World& world, Rank& rank) {
    Plan plan(layout_of(setting));
    const std::array<SlotId, 2> slots = {plan.slot("attention_out", rows_for({GroupKind::tp})),
                                         plan.slot("mlp_out", rows_for({GroupKind::tp}))};
    Session session = commit(world, plan);
    const Group tp = session.group(GroupKind::tp);
    for (const auto& [call, elements] : program_of(rank.index(), kChange)) {
      const Buffer rows = session.take(slots[call % 2]);
      fill(rows, rank.index(), scale_of(call));
      static_cast<void>(tp.all_reduce(rows.elements(elements), ReduceOp::sum));
      rank.expect(name_of(call), floats(rows).first(elements), wanted_sum(tp, scale_of(call)));
    }
    session.close();
  });
  return judge_ended(ends, kNeverMade ? ErrorCode::timeout : ErrorCode::mismatch,
                     std::array<std::string, 1>{"rank " + std::to_string(kOther)});
}

constexpr std::string_view kHeaders =
    "Every call carries a header of what it is and where its operand lies; peers compare it before "
    "anybody gets a result.";

template <Change kChange>
Fault fault(std::string_view name, std::string_view what, std::string_view engines,
            std::string_view why = kHeaders) {
  return {.name = name,
          .what = what,
          .engines = engines,
          .why = why,
          .naive = naive_way<kChange>,
          .ours = our_way<kChange>};
}

}  // namespace

Fault skipped_call() {
  return fault<Change::skip>(
      "skipped-call", "one rank skips a call",
      "calls are matched by their number alone, so the next call of the rank stands in for the one "
      "it skipped");
}

Fault missing_call() {
  return fault<Change::leave_out_last>(
      "missing-call", "one rank leaves out its last call",
      "a call waits for all members, however long that takes",
      "Every wait has a deadline; when it has passed, all ranks end with one error that names the "
      "rank waited for.");
}

Fault added_call() {
  return fault<Change::add>(
      "added-call", "one rank makes a call more",
      "calls are matched by their number alone, so the additional call stands "
      "in for the peers' next one");
}

Fault resized_call() {
  return fault<Change::resize>("resized-call", "one rank calls with fewer rows",
                               "each rank reads as many elements of its peers as it passes itself");
}

}  // namespace cohort::faults
