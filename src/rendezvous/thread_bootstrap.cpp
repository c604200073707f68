// Ranks as threads: one hub per job, guarded by one mutex.
//
// Invariants:
//   1. A round's result is made by the rank that completes it and never changes afterwards.
//   2. A rank whose bootstrap is gone takes part in no further round: whoever waits for it is told.

#include <condition_variable>
#include <exception>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include <cohort/bootstrap.hpp>
#include <cohort/error.hpp>

namespace cohort {
namespace {

using Gathered = std::vector<std::vector<std::byte>>;

class Hub {
 public:
  explicit Hub(std::uint32_t rank_count) : present_(rank_count), gone_(rank_count) {}

  std::uint32_t rank_count() const noexcept { return static_cast<std::uint32_t>(present_.size()); }

  Gathered all_gather(WorldRank rank, std::span<const std::byte> mine,
                      Bootstrap::TimePoint deadline) {
    std::unique_lock lock(mutex_);
    if (collecting_.empty()) collecting_.resize(rank_count());
    collecting_[rank.index()].assign(mine.begin(), mine.end());
    present_[rank.index()] = true;
    if (++present_count_ == rank_count()) {
      result_ = std::make_shared<const Gathered>(std::exchange(collecting_, {}));
      present_.assign(rank_count(), false);
      present_count_ = 0;
      ++round_;
      changed_.notify_all();
      return *result_;
    }
    const std::uint64_t round = round_;
    while (round_ == round) {
      if (const auto missing = first_missing(true)) fail(ErrorCode::peer_failed, *missing);
      if (changed_.wait_until(lock, deadline) == std::cv_status::timeout && round_ == round) {
        fail(ErrorCode::timeout, first_missing(false).value_or(rank));
      }
    }
    // The next round cannot be complete before this rank joins it, so `result_` is this round's.
    return *result_;
  }

  void leave(WorldRank rank) {
    const std::lock_guard lock(mutex_);
    gone_[rank.index()] = true;
    changed_.notify_all();
  }

 private:
  std::optional<WorldRank> first_missing(bool gone_only) const {
    for (std::uint32_t rank = 0; rank < rank_count(); ++rank) {
      if (!present_[rank] && (gone_[rank] || !gone_only)) return WorldRank{rank};
    }
    return std::nullopt;
  }

  [[noreturn]] static void fail(ErrorCode code, WorldRank missing) {
    const std::string name = "rank " + std::to_string(missing.index());
    throw Error(code,
                code == ErrorCode::peer_failed ? name + " ended before it had joined"
                                               : name + " did not join in time",
                missing, "join");
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  Gathered collecting_;
  std::vector<bool> present_;
  std::vector<bool> gone_;
  std::uint32_t present_count_ = 0;
  std::uint64_t round_ = 0;
  std::shared_ptr<const Gathered> result_;
};

class ThreadBootstrap final : public Bootstrap {
 public:
  ThreadBootstrap(std::shared_ptr<Hub> hub, WorldRank rank) : hub_(std::move(hub)), rank_(rank) {}
  ~ThreadBootstrap() override { hub_->leave(rank_); }

  WorldRank rank() const noexcept override { return rank_; }
  std::uint32_t world_size() const noexcept override { return hub_->rank_count(); }
  Gathered all_gather(std::span<const std::byte> mine, TimePoint deadline) override {
    return hub_->all_gather(rank_, mine, deadline);
  }

 private:
  std::shared_ptr<Hub> hub_;
  WorldRank rank_;
};

class SoloBootstrap final : public Bootstrap {
 public:
  WorldRank rank() const noexcept override { return WorldRank{0}; }
  std::uint32_t world_size() const noexcept override { return 1; }
  Gathered all_gather(std::span<const std::byte> mine, TimePoint) override {
    return {std::vector<std::byte>(mine.begin(), mine.end())};
  }
};

/// One rank's end. Lower is nearer to the cause.
struct Failure {
  std::exception_ptr exception;
  std::string message;
  bool names_a_peer = false;
};

Failure describe(std::exception_ptr exception) {
  Failure failure{std::move(exception), {}, false};
  try {
    std::rethrow_exception(failure.exception);
  } catch (const Error& error) {
    failure.message = error.what();
    failure.names_a_peer = error.code() == ErrorCode::peer_failed;
  } catch (const std::exception& error) {
    failure.message = error.what();
  } catch (...) {
    failure.message = "an exception of unknown type";
  }
  return failure;
}

/// The failure that the others follow from: the first that is not about a peer's end; among equal
/// texts the one to which nothing was added on the way.
const Failure* first_cause(const std::vector<Failure>& failures) {
  const Failure* cause = nullptr;
  for (const Failure& failure : failures) {
    if (cause == nullptr || (cause->names_a_peer && !failure.names_a_peer)) cause = &failure;
  }
  for (const Failure& failure : failures) {
    if (failure.message.size() < cause->message.size() &&
        cause->message.starts_with(failure.message)) {
      cause = &failure;
    }
  }
  return cause;
}

}  // namespace

std::unique_ptr<Bootstrap> Bootstrap::solo() {
  return std::make_unique<SoloBootstrap>();
}

void run_ranks_as_threads(std::uint32_t rank_count,
                          const std::function<void(std::unique_ptr<Bootstrap>)>& body) {
  if (rank_count == 0) throw Error(ErrorCode::usage, "a job needs at least one rank");
  auto hub = std::make_shared<Hub>(rank_count);
  // Made before the first thread starts: a thread that cannot be started then counts as a rank
  // that has gone, not as one that is awaited.
  std::vector<std::unique_ptr<Bootstrap>> bootstraps;
  for (std::uint32_t rank = 0; rank < rank_count; ++rank) {
    bootstraps.push_back(std::make_unique<ThreadBootstrap>(hub, WorldRank{rank}));
  }
  std::mutex mutex;
  std::vector<Failure> failures;  // in the order in which ranks ended
  const auto note = [&](std::exception_ptr exception) {
    Failure failure = describe(std::move(exception));
    const std::lock_guard lock(mutex);
    failures.push_back(std::move(failure));
  };
  std::vector<std::thread> threads;
  try {
    for (std::unique_ptr<Bootstrap>& bootstrap : bootstraps) {
      threads.emplace_back([&body, &note, mine = std::move(bootstrap)]() mutable {
        try {
          body(std::move(mine));
        } catch (...) {
          note(std::current_exception());
        }
        mine.reset();
      });
    }
  } catch (...) {
    note(std::current_exception());
  }
  bootstraps.clear();
  for (std::thread& thread : threads) thread.join();
  if (!failures.empty()) std::rethrow_exception(first_cause(failures)->exception);
}

}  // namespace cohort
