#include "faults/rank_processes.hpp"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <map>
#include <system_error>
#include <thread>

#include "base/clock.hpp"
#include "base/unique_fd.hpp"
#include "faults/shared_region.hpp"

namespace cohort::faults {
namespace {

using std::chrono::milliseconds;

template <std::size_t kBytes>
void put(std::array<char, kBytes>& into, std::string_view text) noexcept {
  const std::size_t bytes = std::min(text.size(), kBytes - 1);
  std::memcpy(into.data(), text.data(), bytes);
  into[bytes] = 0;
}

void put_error(RankPage& page, const Error& error) noexcept {
  page.has_error = 1;
  page.error_code = static_cast<std::int32_t>(error.code());
  page.error_rank = error.rank() ? static_cast<std::int64_t>(error.rank()->index()) : -1;
  put(page.error, error.what());
}

/// Ranks speak through their pages; a log line in between would only disturb the table.
void drop_errors() noexcept {
  if (std::getenv("COHORT_LOG") != nullptr) return;
  const UniqueFd nothing(::open("/dev/null", O_WRONLY | O_CLOEXEC));
  if (nothing) ::dup2(nothing.get(), STDERR_FILENO);
}

[[noreturn]] void run_child(Rank& rank, RankPage& page, pid_t parent,
                            const std::function<void(Rank&)>& body) noexcept {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(1);
  drop_errors();
  try {
    body(rank);
  } catch (const Error& error) {
    put_error(page, error);
  } catch (const std::exception& error) {
    put_error(page, Error(ErrorCode::system, error.what()));
  }
  page.finished = 1;
  ::_exit(0);  // nothing of the parent's is to be flushed or destroyed twice
}

struct Process {
  pid_t pid = -1;
  bool running = true;
  bool given_up = false;
  int status = 0;
};

/// Whether it runs still.
bool poll(Process& process) {
  if (process.running && ::waitpid(process.pid, &process.status, WNOHANG) == process.pid) {
    process.running = false;
  }
  return process.running;
}

/// Also on the way out by an exception: no rank is left behind.
class Processes {
 public:
  Processes() = default;
  Processes(const Processes&) = delete;
  Processes& operator=(const Processes&) = delete;
  ~Processes() { give_up(); }

  void start(std::uint32_t index, std::uint32_t count, RankPage& page,
             const std::function<void(Rank&)>& body) {
    const pid_t parent = ::getpid();
    const pid_t pid = ::fork();
    if (pid == 0) {
      Rank rank(index, count, page);
      run_child(rank, page, parent, body);
    }
    if (pid < 0) {
      throw Error(ErrorCode::system,
                  "could not fork a rank: " + std::system_category().message(errno), std::nullopt,
                  "faults");
    }
    all_.push_back({.pid = pid});
  }

  std::size_t count_running() {
    return static_cast<std::size_t>(std::count_if(all_.begin(), all_.end(), poll));
  }

  void give_up() noexcept {
    for (Process& process : all_) {
      if (!process.running) continue;
      process.given_up = true;
      ::kill(process.pid, SIGKILL);  // not reaped yet, so the number is still its own
      while (::waitpid(process.pid, &process.status, 0) < 0 && errno == EINTR) {
      }
      process.running = false;
    }
  }

  const Process& operator[](std::size_t index) const { return all_[index]; }

 private:
  std::vector<Process> all_;
};

std::uint64_t progress_of(std::span<const RankPage* const> pages) {
  std::uint64_t sum = 0;
  for (const RankPage* page : pages) sum += page->progress.load(std::memory_order_relaxed);
  return sum;
}

constexpr std::uint32_t kLooksMin = 50;

void watch(Processes& processes, std::span<const RankPage* const> pages, const Watchdog& watchdog) {
  const auto began = Clock::now();
  auto changed = began;
  std::uint64_t progress = 0;
  std::size_t running = pages.size();
  std::uint32_t looks = 0;
  while (true) {
    const std::size_t running_now = processes.count_running();
    if (running_now == 0) return;
    const std::uint64_t progress_now = progress_of(pages);
    const auto now = Clock::now();
    if (progress_now != progress || running_now != running) {
      changed = now;
      looks = 0;
    }
    progress = progress_now;
    running = running_now;
    // A machine that does not let this process look does not let the ranks go on either.
    const bool idle = ++looks >= kLooksMin && now - changed > watchdog.idle;
    if (idle || now - began > watchdog.total) {
      processes.give_up();
      return;
    }
    std::this_thread::sleep_for(milliseconds(2));
  }
}

RankEnd end_of(const RankPage& page, const Process& process) {
  RankEnd end;
  if (process.given_up) {
    end.kind = RankEnd::Kind::hung;
  } else if (page.finished == 0) {
    end.kind = RankEnd::Kind::died;
    if (WIFSIGNALED(process.status)) end.signal = WTERMSIG(process.status);
  }
  end.doing = page.doing.data();
  end.said = page.said.data();
  end.wrong_values = page.wrong_values;
  end.wrong = page.wrong.data();
  end.copied_bytes = page.copied_bytes;
  if (page.has_error != 0) {
    std::optional<WorldRank> about;
    if (page.error_rank >= 0) about = WorldRank{static_cast<std::uint32_t>(page.error_rank)};
    end.error = Error(static_cast<ErrorCode>(page.error_code), page.error.data(), about);
  }
  return end;
}

}  // namespace

void Rank::doing(std::string_view what) noexcept {
  put(page_->doing, what);
  page_->progress.fetch_add(1, std::memory_order_relaxed);
}

void Rank::say(std::string_view text) noexcept {
  put(page_->said, text);
}

void Rank::wrong(std::string_view what) noexcept {
  if (page_->wrong_values++ == 0) put(page_->wrong, what);
}

void Rank::compare(std::string_view what, std::size_t index, float found, float wanted) noexcept {
  if (found == wanted || page_->wrong_values++ != 0) return;
  std::array<char, 256> text{};
  std::snprintf(text.data(), text.size(), "element %zu of %.*s is %g instead of %g", index,
                static_cast<int>(what.size()), what.data(), static_cast<double>(found),
                static_cast<double>(wanted));
  put(page_->wrong, text.data());
}

void Rank::expect(std::string_view what, std::span<const float> found,
                  std::span<const float> wanted) noexcept {
  for (std::size_t i = 0; i < wanted.size(); ++i) compare(what, i, found[i], wanted[i]);
}

void Rank::expect(std::string_view what, std::span<const float> found, float wanted) noexcept {
  for (std::size_t i = 0; i < found.size(); ++i) compare(what, i, found[i], wanted);
}

void Rank::nap() noexcept {
  std::this_thread::sleep_for(std::chrono::microseconds(200));
}

std::vector<RankEnd> run_ranks(std::uint32_t count, const Watchdog& watchdog,
                               const std::function<void(Rank&)>& body) {
  SharedRegion region(kRanksMax * sizeof(RankPage) + 4096);
  std::vector<RankPage*> pages;
  for (std::uint32_t i = 0; i < count; ++i) pages.push_back(&region.make<RankPage>());
  Processes processes;
  for (std::uint32_t i = 0; i < count; ++i) processes.start(i, count, *pages[i], body);
  watch(processes, std::vector<const RankPage*>(pages.begin(), pages.end()), watchdog);
  std::vector<RankEnd> ends;
  for (std::uint32_t i = 0; i < count; ++i) ends.push_back(end_of(*pages[i], processes[i]));
  return ends;
}

std::string name_ranks(std::span<const std::uint32_t> ranks) {
  std::string text = ranks.size() == 1 ? "rank " : "ranks ";
  for (std::size_t i = 0; i < ranks.size(); ++i) {
    text += (i == 0 ? "" : ", ") + std::to_string(ranks[i]);
    std::size_t last = i;
    while (last + 1 < ranks.size() && ranks[last + 1] == ranks[last] + 1) ++last;
    if (last < i + 2) continue;
    text += "-" + std::to_string(ranks[last]);
    i = last;
  }
  return text;
}

std::string by_text(std::span<const RankEnd> ends,
                    const std::function<std::string(const RankEnd&)>& text) {
  std::vector<std::string> order;
  std::map<std::string, std::vector<std::uint32_t>> ranks;
  for (std::uint32_t i = 0; i < ends.size(); ++i) {
    const std::string one = text(ends[i]);
    if (one.empty()) continue;
    if (!ranks.contains(one)) order.push_back(one);
    ranks[one].push_back(i);
  }
  std::string all;
  for (const std::string& one : order) {
    const bool is_all = ends.size() > 1 && ranks[one].size() == ends.size();
    all += (all.empty() ? "" : "; ") + (is_all ? "all ranks" : name_ranks(ranks[one])) + ": " + one;
  }
  return all;
}

}  // namespace cohort::faults
