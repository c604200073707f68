// Which group serves which transition between the parts of a layer: SGLang's choices as a table by
// the names of its functions, and what `plan_move` chooses, for all layouts. The groups themselves
// are made here anew, by SGLang's formulas, so that aliases (attn_tp is tp if it is as large) count
// as what they are: the same ranks.

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <cohort/layer_communicator.hpp>

#include "layer/layouts.hpp"

namespace cohort {
namespace {

using test::attention_layouts;
using test::even_rows;
using test::kChunk;
using test::kEverywhere;
using test::kReplica;
using test::kSlice;
using test::name_of;
using test::owing;

/// SGLang's attn_dp_size, attn_cp_size, attn_tp_size; tp is their product.
struct Sizes {
  std::uint32_t dp = 1;
  std::uint32_t cp = 1;
  std::uint32_t attn_tp = 1;
  std::uint32_t tp() const { return dp * cp * attn_tp; }
};

Sizes sizes_of(const Layout& layout) {
  return {layout.sizes().attn_dp, layout.sizes().attn_cp,
          layout.sizes().tp / layout.sizes().attn_dp / layout.sizes().attn_cp};
}

enum class SgGroup { tp, attn_tp, attn_cp };

/// The ranks of `rank`'s group, by the lists of initialize_model_parallel.
std::vector<std::uint32_t> ranks_of(SgGroup group, const Sizes& sizes, std::uint32_t rank) {
  std::vector<std::uint32_t> ranks;
  if (group == SgGroup::tp) {
    for (std::uint32_t r = 0; r < sizes.tp(); ++r) ranks.push_back(r);
  } else if (group == SgGroup::attn_tp) {
    const std::uint32_t first = rank / sizes.attn_tp * sizes.attn_tp;
    for (std::uint32_t r = 0; r < sizes.attn_tp; ++r) ranks.push_back(first + r);
  } else {
    const std::uint32_t replica = sizes.attn_tp * sizes.cp;
    const std::uint32_t first = rank / replica * replica + rank % sizes.attn_tp;
    for (std::uint32_t r = 0; r < sizes.cp; ++r) ranks.push_back(first + r * sizes.attn_tp);
  }
  return ranks;
}

struct SgCall {
  StepKind kind;
  SgGroup group;
};
constexpr SgCall all_reduce(SgGroup group) {
  return {StepKind::all_reduce, group};
}
constexpr SgCall all_gather(SgGroup group) {
  return {StepKind::all_gather, group};
}
constexpr SgCall reduce_scatter(SgGroup group) {
  return {StepKind::reduce_scatter, group};
}

using Condition = bool (*)(const Sizes&);
constexpr Condition kAlways = [](const Sizes&) { return true; };
constexpr Condition kOneReplicaOneChunk = [](const Sizes& s) { return s.dp == 1 && s.cp == 1; };
constexpr Condition kReplicasOneChunk = [](const Sizes& s) { return s.dp > 1 && s.cp == 1; };
constexpr Condition kReplicasChunks = [](const Sizes& s) { return s.dp > 1 && s.cp > 1; };
constexpr Condition kOneReplicaChunks = [](const Sizes& s) { return s.dp == 1 && s.cp > 1; };
constexpr Condition kOneReplica = [](const Sizes& s) { return s.dp == 1; };
constexpr Condition kChunks = [](const Sizes& s) { return s.cp > 1; };
constexpr Condition kTpIsAttnDp = [](const Sizes& s) { return s.dp > 1 && s.tp() == s.dp; };
constexpr Condition kTpIsNotAttnDp = [](const Sizes& s) {
  return s.dp > 1 && s.cp == 1 && s.tp() != s.dp;
};
/// What communicator_dsa_cp asserts.
constexpr Condition kOnlyChunks = [](const Sizes& s) {
  return s.dp == 1 && s.attn_tp == 1 && s.cp > 1;
};

const Placement kAttentionOut = owing(kChunk, GroupKind::attn_tp);
const Placement kDecodeOut = owing(kReplica, GroupKind::attn_tp);
const Placement kMlpOut = owing(kEverywhere, GroupKind::tp);

/// One transition. SGLang leaves out calls over one rank, so do we.
struct Transition {
  const char* sglang;  ///< function or table row there
  Condition where;
  Placement from;
  Placement to;
  std::vector<SgCall> calls;
};

// SCATTERED is kSlice, TP_ATTN_FULL is kChunk (kReplica where the chunks of a replica hold the same
// rows, as in decode), FULL and MOE_FULL are kEverywhere.
std::vector<Transition> followed() {
  using enum SgGroup;
  return {
      {"CommunicateSimpleFn: same layout", kAlways, kChunk, kChunk, {}},
      {"CommunicateSimpleFn: SCATTERED -> TP_ATTN_FULL",
       kAlways,
       kSlice,
       kChunk,
       {all_gather(attn_tp)}},
      {"CommunicateWithAllReduceAndLayerNormFn: ATTN_TP_ALL_REDUCE (NORM if attn_tp is 1)",
       kAlways,
       kAttentionOut,
       kChunk,
       {all_reduce(attn_tp)}},
      {"the same in decode", kAlways, kDecodeOut, kReplica, {all_reduce(attn_tp)}},
      {"CommunicateWithAllReduceAndLayerNormFn: SCATTER",
       kAlways,
       kAttentionOut,
       kSlice,
       {reduce_scatter(attn_tp)}},
      {"CommunicateWithAllReduceAndLayerNormFn: GATHER, attn_dp 1",
       kOneReplicaOneChunk,
       kAttentionOut,
       kEverywhere,
       {all_reduce(attn_tp)}},
      {"dp_gather_partial, MAX_LEN",
       kReplicasOneChunk,
       kAttentionOut,
       kEverywhere,
       {reduce_scatter(attn_tp), all_gather(tp)}},
      {"dp_gather_replicate, attn_tp 1 (and the gathers of token ids and last rows)",
       kTpIsAttnDp,
       kReplica,
       kEverywhere,
       {all_gather(tp)}},
      {"CommunicateSummableTensorPairFn: same layout, attn_dp 1: the MLP's own sum",
       kOneReplica,
       kMlpOut,
       kReplica,
       {all_reduce(tp)}},
      {"CommunicateSummableTensorPairFn: FULL -> TP_ATTN_FULL by dp_reduce_scatter_tensor, "
       "tp == attn_dp",
       kTpIsAttnDp,
       kMlpOut,
       kChunk,
       {reduce_scatter(tp)}},
      {"CommunicateSummableTensorPairFn: FULL -> TP_ATTN_FULL by dp_reduce_scatter_tensor, else",
       kTpIsNotAttnDp,
       kMlpOut,
       kChunk,
       {reduce_scatter(tp), all_gather(attn_tp)}},
      {"CommunicateSummableTensorPairFn: TP_ATTN_FULL -> SCATTERED", kAlways, kChunk, kSlice, {}},
      {"CommunicateSummableTensorPairFn: MOE_FULL -> TP_ATTN_FULL, complete rows",
       kChunks,
       kEverywhere,
       kChunk,
       {}},
      {"dp_scatter", kAlways, kEverywhere, kReplica, {}},
      {"communicator_dsa_cp: SCATTERED -> FULL by attn_cp_all_gather_into_tensor",
       kOnlyChunks,
       kChunk,
       kEverywhere,
       {all_gather(attn_cp)}},
      {"communicator_dsa_cp: FULL -> SCATTERED by attn_cp_reduce_scatter_tensor",
       kOnlyChunks,
       kMlpOut,
       kChunk,
       {reduce_scatter(attn_cp)}},
  };
}

/// Where `plan_move` takes another way to the same rows, and why.
struct Departure {
  Transition transition;
  std::vector<Step> (*ours)(const Layout&);
  const char* why;
};

std::vector<Step> calls_of(const Layout& layout, const Placement& from, const Placement& to) {
  std::vector<Step> calls = plan_move(layout, from, to, even_rows(layout, 5)).steps;
  std::erase_if(calls, [](const Step& step) { return step.kind == StepKind::local_slice; });
  return calls;
}

std::string text_of(StepKind kind) {
  switch (kind) {
    case StepKind::all_reduce: return "all_reduce";
    case StepKind::all_gather: return "all_gather";
    case StepKind::reduce_scatter: return "reduce_scatter";
    case StepKind::local_slice: break;
  }
  return "slice";
}

std::string text_of(StepKind kind, const std::vector<std::uint32_t>& ranks) {
  std::string text = text_of(kind) + " [";
  for (const std::uint32_t rank : ranks) text += " " + std::to_string(rank);
  return text + " ] ";
}

std::string ours_on(const Layout& layout, const std::vector<Step>& steps, std::uint32_t rank) {
  std::string text;
  for (const Step& step : steps) {
    std::vector<std::uint32_t> ranks;
    for (const WorldRank peer : layout.group_of(step.group.value(), WorldRank{rank})) {
      ranks.push_back(peer.index());
    }
    text += text_of(step.kind, ranks);
  }
  return text;
}

std::string sglangs_on(const Layout& layout, const std::vector<SgCall>& calls, std::uint32_t rank) {
  std::string text;
  for (const SgCall& call : calls) {
    const auto ranks = ranks_of(call.group, sizes_of(layout), rank);
    if (ranks.size() > 1) text += text_of(call.kind, ranks);
  }
  return text;
}

/// Whether both make the same calls over the same ranks, on every rank.
bool same_calls(const Layout& layout, const std::vector<Step>& steps,
                const std::vector<SgCall>& calls, std::string& difference) {
  for (std::uint32_t rank = 0; rank < layout.world_size(); ++rank) {
    const std::string ours = ours_on(layout, steps, rank);
    const std::string theirs = sglangs_on(layout, calls, rank);
    if (ours == theirs) continue;
    difference = "rank " + std::to_string(rank) + " makes " + ours + "and in SGLang " + theirs;
    return false;
  }
  return true;
}

TEST(SglangGroups, EveryTransitionUsesTheGroupsOfSglang) {
  for (const Transition& transition : followed()) {
    int layouts = 0;
    for (const Layout& layout : attention_layouts(16)) {
      if (!transition.where(sizes_of(layout))) continue;
      SCOPED_TRACE(std::string(transition.sglang) + ", " + name_of(layout));
      const auto ours = calls_of(layout, transition.from, transition.to);
      std::string difference;
      ASSERT_TRUE(same_calls(layout, ours, transition.calls, difference)) << difference;
      ++layouts;
    }
    EXPECT_GE(layouts, 12) << transition.sglang;
  }
}

// get_local_dp_buffer: "tp if tp_size == attn_dp_size else attn_tp".
TEST(SglangGroups, LocalRowsArriveOverTpIfItIsAttnDpElseOverAttnTp) {
  for (const Layout& layout : attention_layouts(16)) {
    const Sizes sizes = sizes_of(layout);
    if (sizes.dp == 1 || sizes.cp > 1) continue;
    SCOPED_TRACE(name_of(layout));
    const Step last = calls_of(layout, kMlpOut, kReplica).back();
    EXPECT_EQ(last.group, sizes.tp() == sizes.dp ? GroupKind::tp : GroupKind::attn_tp);
    EXPECT_EQ(last.target, BufferRole::local);
  }
}

// cp_all_gather_reorganized_into_tensor_kv_cache, cp_all_gather_rerange_output.
TEST(SglangGroups, KeysAndValuesAreGatheredOverAttnCp) {
  for (const Layout& layout : attention_layouts(16)) {
    SCOPED_TRACE(name_of(layout));
    const auto steps = plan_context_gather(layout, even_rows(layout, 5)).steps;
    std::string difference;
    EXPECT_TRUE(same_calls(layout, steps, {all_gather(SgGroup::attn_cp)}, difference))
        << difference;
    for (const Step& step : steps) EXPECT_EQ(step.group, GroupKind::attn_cp);
  }
}

// The buffers that these calls read and write are planned for just those groups.
TEST(SglangGroups, PlannedBuffersNameTheGroups) {
  for (const Layout& layout : attention_layouts(16)) {
    const Sizes sizes = sizes_of(layout);
    if (sizes.dp == 1) continue;
    SCOPED_TRACE(name_of(layout));
    Plan plan(layout);
    const LayerSlots slots = plan_layers(plan, {DType::bf16, 8, 8, 16, 16, 64, 64});
    const auto groups = [&](std::optional<SlotId> slot) {
      const auto& named = plan.slot(slot.value()).spec.groups;
      return std::set<GroupKind>(named.begin(), named.end());
    };
    const auto& [kv, attention, mlp_input, mlp_output, last_rows] = slots.boundaries;
    EXPECT_EQ(groups(mlp_input.rows), std::set{GroupKind::tp});  // get_global_dp_buffer
    EXPECT_EQ(groups(last_rows.rows), std::set{GroupKind::tp});  // logits
    EXPECT_EQ(groups(mlp_output.rows), std::set{GroupKind::tp});
    EXPECT_EQ(kv.rows.has_value(), sizes.cp > 1);
    if (kv.rows) {
      EXPECT_EQ(groups(kv.rows), std::set{GroupKind::attn_cp});
    }
    EXPECT_EQ(attention.rows.has_value(), sizes.attn_tp > 1);
    if (attention.rows) {
      EXPECT_EQ(groups(attention.rows), std::set{GroupKind::attn_tp});
    }
    if (sizes.cp > 1) continue;
    EXPECT_EQ(mlp_output.sum.has_value(), sizes.tp() != sizes.dp);  // get_local_dp_buffer
    if (mlp_output.sum) {
      EXPECT_EQ(groups(mlp_output.sum), (std::set{GroupKind::tp, GroupKind::attn_tp}));
    }
  }
}

Step call(StepKind kind, GroupKind group) {
  Step step;
  step.kind = kind;
  step.group = group;
  return step;
}

std::vector<Step> scatter_and_gather(const Layout&) {
  return {call(StepKind::reduce_scatter, GroupKind::attn_tp),
          call(StepKind::all_gather, GroupKind::tp)};
}
std::vector<Step> gather_over_tp(const Layout&) {
  return {call(StepKind::all_gather, GroupKind::tp)};
}
std::vector<Step> scatter_over_tp_then_attn(const Layout&) {
  return {call(StepKind::reduce_scatter, GroupKind::tp),
          call(StepKind::all_gather, GroupKind::attn)};
}
std::vector<Step> scatter_over_tp_then_attn_tp(const Layout&) {
  return {call(StepKind::reduce_scatter, GroupKind::tp),
          call(StepKind::all_gather, GroupKind::attn_tp)};
}

std::vector<Departure> departures() {
  using enum SgGroup;
  return {
      {{"dp_gather_replicate, MAX_LEN, attn_tp > 1",
        kReplicasOneChunk,
        kReplica,
        kEverywhere,
        {reduce_scatter(attn_tp), all_gather(tp)}},
       gather_over_tp,
       "ranks that hold the same rows each give a slice; SGLang zeroes all but one and adds up"},
      {{"dp_gather_partial, attn_cp > 1",
        kReplicasChunks,
        kAttentionOut,
        kEverywhere,
        {all_reduce(tp)}},
       scatter_and_gather,
       "a gather moves half of what a sum over zero-filled rows does"},
      {{"dp_gather_replicate, attn_cp > 1",
        kReplicasChunks,
        kReplica,
        kEverywhere,
        {all_reduce(tp)}},
       gather_over_tp,
       "a gather moves half of what a sum over zero-filled rows does"},
      {{"CommunicateWithAllReduceAndLayerNormFn: GATHER_MOE_CP",
        kOneReplicaChunks,
        kAttentionOut,
        kEverywhere,
        {all_reduce(attn_tp), all_gather(attn_cp)}},
       scatter_and_gather,
       "each row is moved once, not by every rank that shares its heads"},
      {{"CommunicateSummableTensorPairFn: FULL -> TP_ATTN_FULL by dp_reduce_scatter_tensor, "
        "attn_cp > 1",
        kReplicasChunks,
        kMlpOut,
        kReplica,
        {reduce_scatter(tp), all_gather(attn_tp), all_gather(attn_cp)}},
       scatter_over_tp_then_attn,
       "one gather over the ranks of both"},
      {{"CommunicateSummableTensorPairFn: MOE_FULL -> TP_ATTN_FULL after the MLP's all-reduce",
        kChunks,
        kMlpOut,
        kChunk,
        {all_reduce(tp)}},
       scatter_over_tp_then_attn_tp,
       "nobody needs the rows of the other chunks"},
  };
}

// The table of departures is no excuse for more than it says: each is what it says wherever it
// holds, and really differs somewhere.
TEST(SglangGroups, DeparturesAreTheseAndNoOthers) {
  for (const Departure& departure : departures()) {
    const Transition& transition = departure.transition;
    int differing = 0;
    for (const Layout& layout : attention_layouts(16)) {
      if (!transition.where(sizes_of(layout))) continue;
      SCOPED_TRACE(std::string(transition.sglang) + ", " + name_of(layout));
      const auto ours = calls_of(layout, transition.from, transition.to);
      auto said = departure.ours(layout);
      std::erase_if(said,
                    [&](const Step& step) { return layout.group_size(step.group.value()) == 1; });
      for (std::uint32_t rank = 0; rank < layout.world_size(); ++rank) {
        ASSERT_EQ(ours_on(layout, ours, rank), ours_on(layout, said, rank));
      }
      std::string difference;
      differing += same_calls(layout, ours, transition.calls, difference) ? 0 : 1;
    }
    EXPECT_GE(differing, 4) << transition.sglang << ": " << departure.why;
  }
}

}  // namespace
}  // namespace cohort
