#include "check/rank_probe.hpp"

#include <algorithm>
#include <atomic>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include <cohort/error.hpp>

#include "backend/host/domain.hpp"
#include "backend/host/memory_node.hpp"
#include "backend/host/shared_memory.hpp"
#include "check/round_trip.hpp"
#include "heap/reserve.hpp"

namespace cohort::check {
namespace {

constexpr std::string_view kPhase = "check";
constexpr std::size_t kPageBytes = 4096;
// Each pair takes about a tenth of a second on a busy machine.
constexpr std::uint32_t kPairsMax = 15;
constexpr TripLimits kSpinLimits{2000, std::chrono::milliseconds(50)};
constexpr TripLimits kSleepLimits{300, std::chrono::milliseconds(50)};

/// At the beginning of every rank's memory; behind it one mark of each rank.
struct Board {
  TripWords spin;   // of the pair under measurement; only on rank 0
  TripWords sleep;  // likewise
};

using Mark = std::atomic<std::uint32_t>;

std::size_t board_bytes(std::uint32_t rank_count) noexcept {
  const std::size_t bytes = sizeof(Board) * kPairsMax + sizeof(Mark) * rank_count;
  return (bytes + kPageBytes - 1) / kPageBytes * kPageBytes;
}

/// What rank `from` writes into the memory of rank `to`.
std::uint32_t mark_of(std::uint32_t from, std::uint32_t to) noexcept {
  return 0xC000'0000U | from << 12 | to;
}

class Probe {
 public:
  Probe(World& world, const Wanted& wanted, RankReport& report,
        FunctionRef<void(const RankReport&)> publish)
      : domain_(world.domain()),
        rank_(world.rank().index()),
        ranks_(world.size()),
        wanted_(wanted),
        report_(report),
        publish_(publish) {}

  void run() {
    const std::uint32_t node = host::memory_node_of_thread();
    if (node != host::kAnyNode) report_.node = node;
    reserve_addresses();
    publish_(report_);
    share_memory();
    publish_(report_);
    measure_pairs();
    report_.finished = true;
    publish_(report_);
    // A rank that ends while others are still at it would be missed by them.
    meet();
  }

 private:
  void meet() { domain_.all_gather({}, kPhase, domain_.deadline_after(domain_.limits().setup)); }

  /// As `commit` does: the addresses of every rank's arena.
  void reserve_addresses() {
    const std::size_t bytes = heap::default_reserve_bytes(wanted_.arena_bytes.value_or(1));
    std::vector<std::unique_ptr<host::AddressRange>> ranges;
    try {
      for (std::uint32_t rank = 0; rank < ranks_; ++rank) {
        ranges.push_back(std::make_unique<host::AddressRange>(bytes));
      }
    } catch (const Error& error) {
      report_.addresses = error.what();
    }
  }

  void share_memory() {
    const std::size_t bytes = board_bytes(ranks_);
    const UniqueFd mine = host::create_shared_memory("cohort-check", bytes, [](std::size_t) {});
    const auto fds =
        domain_.all_gather_fd(mine.get(), kPhase, domain_.deadline_after(domain_.limits().setup));
    for (std::uint32_t rank = 0; rank < ranks_; ++rank) {
      memory_.push_back(host::SharedMapping::map(fds[rank].get(), bytes, WorldRank{rank}));
    }
    for (std::uint32_t rank = 0; rank < ranks_; ++rank) {
      marks(rank)[rank_].store(mark_of(rank_, rank), std::memory_order_release);
    }
    meet();
    for (std::uint32_t rank = 0; rank < ranks_; ++rank) {
      if (marks(rank_)[rank].load(std::memory_order_acquire) == mark_of(rank, rank_)) continue;
      domain_.fail(Error(ErrorCode::mismatch,
                         "what rank " + std::to_string(rank) + " wrote into the memory of rank " +
                             std::to_string(rank_) + " is not there",
                         WorldRank{rank}, std::string(kPhase)));
    }
    report_.shares_memory = true;
  }

  /// Rank 0 with the others, or with some of them, evenly spread. Who has no part in a pair sleeps.
  void measure_pairs() {
    const std::uint32_t others = ranks_ - 1;
    const std::uint32_t pairs = std::min(others, kPairsMax);
    for (std::uint32_t pair = 0; pair < pairs; ++pair) {
      const std::uint32_t other = 1 + pair * others / pairs;
      const auto deadline = domain_.deadline_after(domain_.limits().setup);
      const auto check = [&] {
        domain_.check("timing rank " + std::to_string(other));
        if (std::chrono::steady_clock::now() < deadline) return;
        const std::uint32_t awaited = rank_ == 0 ? other : 0;
        domain_.fail(Error(
            ErrorCode::timeout,
            "rank " + std::to_string(awaited) + " does not answer rank " + std::to_string(rank_),
            WorldRank{awaited}, std::string(kPhase)));
      };
      Board& board = boards()[pair];
      if (rank_ == 0) {
        const TripTimes spin = time_round_trips(board.spin, TripWait::spin, kSpinLimits, check);
        const TripTimes sleep = time_round_trips(board.sleep, TripWait::sleep, kSleepLimits, check);
        report_.trips.push_back({other, spin, sleep});
        publish_(report_);
      } else if (rank_ == other) {
        answer_round_trips(board.spin, TripWait::spin, check);
        answer_round_trips(board.sleep, TripWait::sleep, check);
      }
      meet();
    }
  }

  // Memory is zero at first, which is what all of these words begin with.
  Board* boards() const { return reinterpret_cast<Board*>(memory_[0]->data()); }
  Mark* marks(std::uint32_t rank) const {
    return reinterpret_cast<Mark*>(memory_[rank]->data() + sizeof(Board) * kPairsMax);
  }

  host::Domain& domain_;
  std::uint32_t rank_;
  std::uint32_t ranks_;
  const Wanted& wanted_;
  RankReport& report_;
  FunctionRef<void(const RankReport&)> publish_;
  std::vector<std::shared_ptr<host::SharedMapping>> memory_;  // by rank
};

}  // namespace

void probe_ranks(World& world, const Wanted& wanted, RankReport& report,
                 FunctionRef<void(const RankReport&)> publish) {
  Probe(world, wanted, report, publish).run();
}

}  // namespace cohort::check
