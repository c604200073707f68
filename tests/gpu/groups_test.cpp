// Groups that overlap, on devices that ranks share: four ranks as threads, each with two streams
// and a lane for each, calls of all groups in turn, rows that differ from rank to rank and from
// call to call. Everything is whole numbers that floats hold, so results are exact.

#include <array>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <cohort/cohort.hpp>

#include "gpu/rank_gpu.hpp"

namespace cohort {
namespace {

using test::GpuBlock;
using test::RankGpu;
using test::RankMode;

constexpr std::size_t kRanks = 4;
constexpr std::size_t kLanes = 2;
constexpr std::size_t kRowElements = 24;
constexpr std::size_t kRowsMax = 96;
constexpr std::size_t kCallsOfRound = 4;

Plan plan_of(const LayoutSizes& sizes, std::span<const GroupKind> kinds, PlanOptions options) {
  options.lanes = kLanes;
  options.memory = Memory::cuda;
  Plan plan(Layout{sizes}, options);
  for (const char* name : {"input", "output"}) {
    static_cast<void>(plan.slot(name, {.groups = {kinds.begin(), kinds.end()},
                                       .rows_max = kRowsMax,
                                       .row_elements = kRowElements,
                                       .depth = kCallsOfRound}));
  }
  return plan;
}

/// Element `at` of what `rank` brings to a call: small whole numbers.
float value_of(std::uint32_t call, WorldRank rank, std::size_t at) {
  const std::uint64_t mixed =
      (std::uint64_t{call} * 977 + rank.index() * 131 + at * 7) * 2654435761;
  return static_cast<float>((mixed >> 16U) % 1024);
}

enum class Kind { all_reduce, all_gatherv, reduce_scatterv };

/// One call as all its members know it.
struct Deal {
  std::uint32_t number = 0;
  Kind kind = Kind::all_reduce;
  GroupKind group = GroupKind::world;
  std::size_t lane = 0;
  bool outside = false;             // operands in memory outside of the arena
  std::vector<std::size_t> counts;  // by member, elements

  std::size_t all() const { return std::accumulate(counts.begin(), counts.end(), std::size_t{0}); }
};

/// Random calls, the same on all ranks: sizes of groups are the same in all groups of a kind.
class Dealer {
 public:
  Dealer(const Layout& layout, std::span<const GroupKind> kinds)
      : layout_(&layout), kinds_(kinds) {}

  Deal next() {
    Deal deal;
    deal.number = ++number_;
    deal.kind = static_cast<Kind>(random_() % 3);
    deal.group = kinds_[random_() % kinds_.size()];
    deal.lane = random_() % kLanes;
    deal.outside = random_() % 4 == 0;
    const std::size_t size = layout_->group_size(deal.group);
    const std::size_t rows_max = kRowsMax / kRanks;
    const std::size_t same = random_() % (rows_max + 1);
    for (std::size_t member = 0; member < size; ++member) {
      const bool none = random_() % 5 == 0;
      const std::size_t rows = none ? 0 : random_() % (rows_max + 1);
      deal.counts.push_back((deal.kind == Kind::all_reduce ? same : rows) * kRowElements);
    }
    return deal;
  }

 private:
  const Layout* layout_;
  std::span<const GroupKind> kinds_;
  std::mt19937 random_{20260101};
  std::uint32_t number_ = 0;
};

/// A rank's part of a call: its operands, and what is to come out.
class Play {
 public:
  Play(const Deal& deal, const Group& group, const RankGpu& gpu, Tensor input, Tensor output)
      : deal_(&deal), group_(group), gpu_(&gpu) {
    const std::size_t self = group.rank().index();
    const std::size_t own = deal.counts[self];
    const std::size_t all = deal.all();
    const std::size_t in = deal.kind == Kind::reduce_scatterv ? all : own;
    const std::size_t out = deal.kind == Kind::all_gatherv ? all : own;
    input_ = {input.data, in, DType::f32};
    output_ = {output.data, out, DType::f32};
    std::vector<float> content(in);
    for (std::size_t at = 0; at < in; ++at) {
      content[at] = value_of(deal.number, group.ranks()[self], at);
    }
    gpu.write_all(input_, content);
    gpu.write_all(output_, std::vector<float>(out, -1.0F));
  }

  void call() const {
    const Lane lane{static_cast<std::uint8_t>(deal_->lane)};
    switch (deal_->kind) {
      case Kind::all_reduce:
        static_cast<void>(group_.all_reduce(input_, output_, ReduceOp::sum, lane));
        break;
      case Kind::all_gatherv:
        static_cast<void>(group_.all_gatherv(input_, output_, deal_->counts, lane));
        break;
      case Kind::reduce_scatterv:
        static_cast<void>(
            group_.reduce_scatterv(input_, output_, deal_->counts, ReduceOp::sum, lane));
        break;
    }
  }

  void expect() const {
    const std::vector<float> seen = gpu_->read_all<float>(output_);
    ASSERT_EQ(seen, wanted()) << "call " << deal_->number << " on " << to_string(deal_->group)
                              << ", kind " << static_cast<int>(deal_->kind) << ", lane "
                              << deal_->lane << ", member " << group_.rank().index();
  }

 private:
  std::vector<float> wanted() const {
    const std::size_t self = group_.rank().index();
    std::vector<float> wanted;
    if (deal_->kind == Kind::all_gatherv) {
      for (std::size_t member = 0; member < group_.size(); ++member) {
        for (std::size_t at = 0; at < deal_->counts[member]; ++at) {
          wanted.push_back(value_of(deal_->number, group_.ranks()[member], at));
        }
      }
      return wanted;
    }
    const auto own = deal_->counts.begin() + static_cast<std::ptrdiff_t>(self);
    const std::size_t first = deal_->kind == Kind::reduce_scatterv
                                  ? std::accumulate(deal_->counts.begin(), own, std::size_t{0})
                                  : 0;
    for (std::size_t at = 0; at < *own; ++at) {
      float sum = 0;
      for (const WorldRank rank : group_.ranks()) sum += value_of(deal_->number, rank, first + at);
      wanted.push_back(sum);
    }
    return wanted;
  }

  const Deal* deal_;
  Group group_;
  const RankGpu* gpu_;
  Tensor input_;
  Tensor output_;
};

struct Groups {
  const char* name;
  LayoutSizes sizes;
  std::vector<GroupKind> kinds;
  PlanOptions options;
};

void PrintTo(const Groups& groups, std::ostream* stream) {
  *stream << groups.name;
}

void run_rounds(World& world, const cuda::Api& api, const Groups& groups, int rounds) {
  const Layout layout(groups.sizes);
  RankGpu gpu(api, world.rank(), kLanes);
  Session session =
      commit(world, plan_of(groups.sizes, groups.kinds, groups.options), gpu.commit_options());
  constexpr std::size_t kBytes = kRowsMax * kRowElements * sizeof(float);
  std::array<GpuBlock*, 2 * kCallsOfRound> outside{};
  for (GpuBlock*& block : outside) block = &gpu.allocate(kBytes, 4);
  Dealer dealer(layout, groups.kinds);
  for (int round = 0; round < rounds; ++round) {
    std::vector<Deal> deals;
    for (std::size_t i = 0; i < kCallsOfRound; ++i) deals.push_back(dealer.next());
    std::vector<Play> plays;
    for (std::size_t i = 0; i < kCallsOfRound; ++i) {
      const Deal& deal = deals[i];
      const Buffer input = session.take(SlotId{0});
      const Buffer output = session.take(SlotId{1});
      void* const in = deal.outside ? outside[2 * i]->data() : input.data();
      void* const out = deal.outside ? outside[2 * i + 1]->data() : output.data();
      plays.emplace_back(deal, session.group(deal.group).on(gpu.stream(deal.lane)), gpu,
                         Tensor{in, 0, DType::f32}, Tensor{out, 0, DType::f32});
    }
    for (const Play& play : plays) play.call();
    for (std::size_t lane = 0; lane < kLanes; ++lane) session.wait(gpu.stream(lane));
    for (const Play& play : plays) play.expect();
    if (testing::Test::HasFatalFailure()) return;
  }
  EXPECT_TRUE(gpu.is_intact()) << "something was stored beside an operand";
  EXPECT_EQ(session.registrations_since_commit(), 0U);
  session.close();
}

class GpuGroups : public testing::TestWithParam<Groups> {};

TEST_P(GpuGroups, OverlapOnSharedDevices) {
  // The fake's kernels run by turns in the ranks' own threads.
  const int rounds = test::is_over_fake() ? 200 : 2000;
  test::run_gpu_ranks(RankMode::threads, kRanks, [&](World& world, const cuda::Api& api) {
    run_rounds(world, api, GetParam(), rounds);
  });
}

using enum GroupKind;

INSTANTIATE_TEST_SUITE_P(
    All, GpuGroups,
    testing::Values(
        Groups{"attn_cp", {.tp = 4, .attn_cp = 2}, {tp, attn_tp, attn_cp, attn, world}, {}},
        Groups{"attn_dp", {.tp = 4, .attn_dp = 2}, {tp, attn_tp, attn, world}, {}},
        Groups{"attn_dp_and_cp", {.tp = 4, .attn_dp = 2, .attn_cp = 2}, {tp, attn_cp, attn}, {}},
        Groups{"two_shot",
               {.tp = 4, .attn_cp = 2},
               {tp, attn_tp, attn_cp},
               {.path_table = PathTable::pinned(Path::gpu_two_shot)}}),
    [](const auto& groups) { return std::string(groups.param.name); });

}  // namespace
}  // namespace cohort
