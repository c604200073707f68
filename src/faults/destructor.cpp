// A destructor communicates, and runs when one rank's program happens to let go.

#include <optional>
#include <stdexcept>

#include "faults/catalog.hpp"
#include "faults/cohort_ranks.hpp"
#include "faults/naive.hpp"

namespace cohort::faults {
namespace {

constexpr std::uint32_t kEarly = 1;  // the rank that lets go first

constexpr const char* kWaitForTokens =
    "waiting for the tokens of rank 1, which it hands out after its cleaning up";

/// Registered memory that owns its registration, as a tidy program would have it.
class NaiveTensor {
 public:
  NaiveTensor(naive::Group& group, Rank& rank, std::span<float> memory)
      : group_(&group), rank_(&rank) {
    group.register_window(rank, memory, "registering");
  }
  NaiveTensor(const NaiveTensor&) = delete;
  NaiveTensor& operator=(const NaiveTensor&) = delete;
  /// Peers may still have the address: all must agree that it is gone.
  ~NaiveTensor() { group_->barrier(*rank_, "deregistering, in a destructor,"); }

 private:
  naive::Group* group_;
  Rank* rank_;
};

Observation naive_way(const Setting& setting) {
  SharedRegion region;
  const auto memory = naive::memory_of_ranks(region, setting.ranks, kElements);
  naive::Group tp = naive::group_of(layout_of(setting), GroupKind::tp, 0, region);
  auto& tokens = region.make<std::atomic<bool>>(false);
  const auto ends = run_ranks(setting.ranks, naive_watchdog(setting), [&](Rank& rank) {
    {
      const NaiveTensor rows(tp, rank, memory[rank.index()]);
      if (rank.index() != kEarly) {
        rank.wait_for_ever(kWaitForTokens, [&] { return tokens.load(); });
      }
    }
    tokens.store(true);
  });
  return judge_naive(ends);
}

struct Signals {
  std::atomic<bool> tokens{false};
  std::atomic<bool> dropped{false};
};

/// One rank's block and lease go by an exception, while the others wait for it elsewhere: if their
/// end told anybody anything, this would not come to an end.
void let_go_early(Session& session, SlotId slot, Rank& rank, Signals& signals) {
  Lease lease = session.lease(slot);
  std::optional<Scope> scope = session.scope(GroupKind::tp);
  const Buffer rows = scope->allocate(DType::f32, kElements, 1);
  static_cast<void>(reduce(rank, session.group(GroupKind::tp), rows, "the sum of a block"));
  if (rank.index() != kEarly) {
    rank.wait_for_ever(kWaitForTokens, [&] { return signals.tokens.load(); });
    return;
  }
  try {
    const Lease goes = std::move(lease);
    const std::optional<Scope> goes_too = std::exchange(scope, std::nullopt);
    throw std::runtime_error("a sampler's own");
  } catch (const std::runtime_error&) {
    signals.tokens.store(true);
  }
}

Observation our_way(const Setting& setting) {
  SharedRegion region;
  Signals& signals = region.make<Signals>();
  const auto ends = run_cohort(setting, limits_of(setting), [&](World& world, Rank& rank) {
    Plan plan(layout_of(setting));
    SlotSpec spec = rows_for({GroupKind::tp});
    spec.leases = 1;
    const SlotId slot = plan.slot("rows", spec);
    static_cast<void>(plan.pool(
        "activations",
        {.groups = {GroupKind::tp}, .bytes = 4 * kElements, .block_bytes_max = 4 * kElements}));
    std::optional<Session> session = commit(world, plan);
    let_go_early(*session, slot, rank, signals);
    const Group tp = session->group(GroupKind::tp);
    const Lease again = session->lease(slot);
    static_cast<void>(reduce(rank, tp, again.buffer(), "the sum in an entry leased again"));
    session->verify();
    // The whole session, without close: nothing to wait for either, and the peers are told.
    if (rank.index() == kEarly) {
      session.reset();
      signals.dropped.store(true);
      return;
    }
    rank.wait_for_ever("waiting for a session to be dropped",
                       [&] { return signals.dropped.load(); });
    static_cast<void>(reduce(rank, tp, session->take(slot), "a sum without one rank"));
  });
  return judge_ended(ends, ErrorCode::peer_failed,
                     std::array<std::string, 1>{"dropped its session"}, kEarly);
}

}  // namespace

Fault destructor() {
  return {.name = "destructor",
          .what = "a destructor communicates, and runs when one rank lets go",
          .engines =
              "memory is deregistered when its last handle goes, in a call of all members, at "
              "whatever moment a garbage collector or an exception picks",
          .why =
              "The ends of blocks, leases and sessions are local; a session that goes without "
              "close is told to the peers as a fault instead of waited for.",
          .naive = naive_way,
          .ours = our_way};
}

}  // namespace cohort::faults
