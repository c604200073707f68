#include "matrix/run_case.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <new>
#include <stdexcept>

#include "base/clock.hpp"
#include "matrix/board.hpp"
#include "matrix/judge.hpp"
#include "matrix/rank_script.hpp"

namespace cohort::matrix {
namespace {

// Far beyond every deadline of a case: who has not ended by then hangs.
constexpr std::chrono::seconds kPatience{60};
constexpr int kPollMilliseconds = 5;

/// Memory that this process's children share with it.
template <typename T>
class Shared {
 public:
  explicit Shared(std::size_t count = 1) : bytes_(count * sizeof(T)) {
    void* const memory =
        ::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    data_ = static_cast<T*>(memory);
    for (std::size_t i = 0; i < count; ++i) new (data_ + i) T;
  }
  ~Shared() { ::munmap(data_, bytes_); }
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;
  T& operator[](std::size_t index) const noexcept { return data_[index]; }

 private:
  std::size_t bytes_;
  T* data_;
};

/// Runs `body` in a process that ends with this one.
template <typename Body>
pid_t start_process(const Body& body) {
  const pid_t pid = ::fork();
  if (pid < 0) throw std::runtime_error("no process");
  if (pid != 0) return pid;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  int code = 0;
  try {
    body();
  } catch (...) {
    code = 3;
  }
  ::_exit(code);
}

/// Ranks drop sessions and say so; that is no news here.
void be_quiet() {
  const int nothing = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  ::dup2(nothing, STDOUT_FILENO);
  ::dup2(nothing, STDERR_FILENO);
  ::close(nothing);
}

class CaseRun {
 public:
  explicit CaseRun(const FaultCase& fault_case) : case_(fault_case) {
    for (std::uint32_t rank = 0; rank < case_.rank_count; ++rank) {
      pids_[rank] = start_process([&] {
        be_quiet();
        play(case_, rank, board_[0]);
        std::exit(0);  // not at once: sanitizers have the last word
      });
    }
  }

  Outcome run() {
    const auto patience = kPatience * deadline_scale_from_environment();
    const auto deadline = Clock::now() + std::chrono::duration_cast<Clock::duration>(patience);
    while (running_count() > 0) {
      for (std::uint32_t rank = 0; rank < case_.rank_count; ++rank) look_at(rank);
      resume_victim();
      if (Clock::now() >= deadline) kill_all();
      ::poll(nullptr, 0, kPollMilliseconds);
    }
    return judge(case_, board_[0], ends_);
  }

 private:
  std::size_t running_count() const {
    return static_cast<std::size_t>(
        std::ranges::count_if(pids_, [](const pid_t pid) { return pid > 0; }));
  }

  void look_at(std::uint32_t rank) {
    if (pids_[rank] <= 0) return;
    int status = 0;
    if (::waitpid(pids_[rank], &status, WNOHANG | WUNTRACED | WCONTINUED) != pids_[rank]) return;
    if (WIFSTOPPED(status)) stopped_ = true;
    if (WIFCONTINUED(status)) stopped_ = false;
    if (!WIFEXITED(status) && !WIFSIGNALED(status)) return;
    pids_[rank] = 0;
    if (WIFEXITED(status)) ends_[rank].exit_code = WEXITSTATUS(status);
    if (WIFSIGNALED(status)) ends_[rank].signal = WTERMSIG(status);
    board_[0].ranks[rank].ended.store(1);
  }

  void resume_victim() const {
    const pid_t victim = pids_[case_.victim];
    // Number 0 would be the whole process group: every other case.
    if (victim > 0 && stopped_ && others_have_ended()) ::kill(victim, SIGCONT);
  }

  bool others_have_ended() const {
    for (std::uint32_t rank = 0; rank < case_.rank_count; ++rank) {
      const RankCell& cell = board_[0].ranks[rank];
      const bool ended = cell.ended.load() != 0 || cell.worlds[0].state.load() != WorldEnd::none;
      if (rank != case_.victim && !ended) return false;
    }
    return true;
  }

  void kill_all() {
    for (std::uint32_t rank = 0; rank < case_.rank_count; ++rank) {
      if (pids_[rank] <= 0) continue;
      ends_[rank].hung = true;
      ::kill(pids_[rank], SIGKILL);
    }
  }

  const FaultCase& case_;
  Shared<Board> board_;
  std::array<pid_t, kRankCountMax> pids_{};
  std::array<ProcessEnd, kRankCountMax> ends_{};
  bool stopped_ = false;
};

/// An outcome as plain data, for the process that runs the case to hand back.
struct OutcomeRecord {
  bool complete = false;
  double slowest_ms = 0;
  std::array<char, 32> how{};
  std::array<char, 4000> complaints{};
};

Outcome read_outcome(const FaultCase& fault_case, const OutcomeRecord& record) {
  if (!record.complete) return {"none", 0, fault_case.describe() + ": its runner failed\n"};
  return {record.how.data(), record.slowest_ms, record.complaints.data()};
}

}  // namespace

Outcome run_case(const FaultCase& fault_case) {
  return CaseRun(fault_case).run();
}

void run_cases(std::span<const FaultCase> cases, std::uint32_t jobs, const Report& report) {
  const Shared<OutcomeRecord> records(cases.size());
  struct Running {
    pid_t pid;
    std::size_t index;
  };
  std::vector<Running> running;
  for (std::size_t next = 0; next < cases.size() || !running.empty();) {
    while (next < cases.size() && running.size() < jobs) {
      const std::size_t index = next++;
      const pid_t pid = start_process([&] {
        const Outcome outcome = run_case(cases[index]);
        OutcomeRecord& record = records[index];
        record.slowest_ms = outcome.slowest_ms;
        copy_text(record.how, outcome.how);
        copy_text(record.complaints, outcome.complaints);
        record.complete = true;
      });
      running.push_back({pid, index});
    }
    std::erase_if(running, [&](const Running& each) {
      if (::waitpid(each.pid, nullptr, WNOHANG) != each.pid) return false;
      report(cases[each.index], read_outcome(cases[each.index], records[each.index]));
      return true;
    });
    ::poll(nullptr, 0, kPollMilliseconds);
  }
}

}  // namespace cohort::matrix
