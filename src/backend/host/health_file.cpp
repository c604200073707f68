#include "backend/host/health_file.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <filesystem>
#include <system_error>
#include <utility>

#include "backend/host/quiet_thread.hpp"
#include "backend/host/system_error.hpp"
#include "backend/host/wait_mark.hpp"
#include "base/log.hpp"
#include "base/replace_file.hpp"

namespace cohort::host {
namespace {

using std::chrono::steady_clock;

// Ranks that leave at the same moment: how often one of them looks again whether it told the last.
constexpr int kLastLooks = 3;

bool same_ends(const Health& one, const Health& other) {
  if (one.fault.has_value() != other.fault.has_value()) return false;
  for (std::size_t rank = 0; rank < one.ranks.size(); ++rank) {
    const auto ended = [&](const Health& health) {
      const RankActivity activity = health.ranks[rank].activity;
      return activity == RankActivity::left || activity == RankActivity::dead;
    };
    if (ended(one) != ended(other)) return false;
  }
  return true;
}

}  // namespace

HealthFile::HealthFile(const std::string& path, const Shared& shared, std::function<Health()> ask)
    // The program may change its working directory.
    : path_(std::filesystem::absolute(path).string()),
      shared_(shared),
      ask_(std::move(ask)),
      interrupt_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!interrupt_) throw_system_error("keep the health file (eventfd)", "join");
  thread_ = start_without_signals("keeps the health file", [this] { run(); });
}

HealthFile::~HealthFile() {
  ending_.store(true);
  interrupt();
  if (thread_.joinable()) thread_.join();
}

void HealthFile::hurry() noexcept {
  hurried_.store(true);
  interrupt();
}

void HealthFile::interrupt() noexcept {
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = ::write(interrupt_.get(), &one, sizeof one);
}

void HealthFile::end() noexcept {
  ending_.store(true);
  interrupt();
  if (thread_.joinable()) thread_.join();
  try {
    Health told = ask_();
    for (int look = 0; look < kLastLooks; ++look) {
      write(told);
      // Another rank may have left meanwhile, and written that before this one wrote.
      Health now = ask_();
      if (same_ends(told, now)) return;
      told = std::move(now);
    }
  } catch (const std::exception&) {
    // No memory for a report of a job that ends.
  }
}

void HealthFile::run() noexcept {
  while (!ending_.load()) {
    try {
      if (hurried_.exchange(false) || is_due()) write(ask_());
    } catch (const std::exception&) {
      // No memory for it now: the next turn tries again, and meanwhile the file shows its age.
    }
    pollfd polled{interrupt_.get(), POLLIN, 0};
    ::poll(&polled, 1, static_cast<int>(kInterval.count()));
    std::uint64_t count = 0;
    [[maybe_unused]] const auto drained = ::read(interrupt_.get(), &count, sizeof count);
  }
}

/// The writer's own turn always; another's only once the writer has left out turns, the later the
/// higher the rank, so that one takes over and not all.
bool HealthFile::is_due() const noexcept {
  if (shared_.writer.load(std::memory_order_relaxed) == shared_.self.index()) return true;
  const auto silent =
      steady_clock::now() - from_ns(shared_.written_ns.load(std::memory_order_relaxed));
  return silent >= kInterval * (2 * (std::int64_t{shared_.self.index()} + 1));
}

void HealthFile::write(const Health& health) noexcept {
  shared_.writer.store(shared_.self.index(), std::memory_order_relaxed);
  shared_.written_ns.store(to_ns(steady_clock::now()), std::memory_order_relaxed);
  try {
    const int reason = replace_file(path_, to_json(health) + "\n");
    if (reason != 0 && !failing_) {
      log(LogLevel::warning, "cannot write the health file " + path_ + ": " +
                                 std::generic_category().message(reason) +
                                 "; the job goes on without it");
    }
    failing_ = reason != 0;
  } catch (const std::exception&) {
    failing_ = true;
  }
}

}  // namespace cohort::host
