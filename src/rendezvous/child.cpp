#include "rendezvous/child.hpp"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <map>
#include <system_error>
#include <utility>

#include "base/pidfd.hpp"
#include "base/system_limits.hpp"

namespace cohort::rendezvous {
namespace {

[[noreturn]] void fail(const std::string& action) {
  const int reason = errno;
  const bool is_full = reason == EMFILE || reason == ENFILE;
  throw Error(ErrorCode::system,
              "could not " + action + ": " + std::system_category().message(reason) +
                  (is_full ? "; raise the limit of open files (ulimit -n)" : ""),
              std::nullopt, "start");
}

/// Null-terminated array of C strings over storage that stays.
class PointerArray {
 public:
  explicit PointerArray(std::vector<std::string> texts) : texts_(std::move(texts)) {
    for (std::string& text : texts_) pointers_.push_back(text.data());
    pointers_.push_back(nullptr);
  }
  char* const* get() const noexcept { return pointers_.data(); }

 private:
  std::vector<std::string> texts_;
  std::vector<char*> pointers_;
};

std::vector<std::string> environment_for(const LaunchOptions& options, WorldRank rank, int socket) {
  std::map<std::string, std::string> variables;
  // Ranks share the CPUs: other libraries' threads get their part of them and sleep when idle.
  const std::uint32_t threads = std::max(usable_cpu_count() / options.rank_count, 1u);
  variables["OMP_NUM_THREADS"] = std::to_string(threads);
  variables["OMP_WAIT_POLICY"] = "passive";
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    const std::size_t equals = text.find('=');
    if (equals != std::string::npos) variables[text.substr(0, equals)] = text.substr(equals + 1);
  }
  for (const auto& [name, value] : options.environment) variables[name] = value;
  variables[kRankVariable] = std::to_string(rank.index());
  variables[kWorldSizeVariable] = std::to_string(options.rank_count);
  variables[kSocketVariable] = std::to_string(socket);
  std::vector<std::string> texts;
  for (const auto& [name, value] : variables) texts.push_back(name + "=" + value);
  return texts;
}

/// Everything the child needs between fork and exec, made before: there it must not allocate.
struct ChildPlan {
  pid_t launcher = 0;
  const char* program = nullptr;
  char* const* arguments = nullptr;
  char* const* environment = nullptr;
  int socket = -1;
  int input = -1;   // -1: keep
  int output = -1;  // -1: keep
  int errors = -1;  // -1: keep
  sigset_t signals{};
};

void replace_descriptor(int source, int target) noexcept {
  if (source >= 0) ::dup2(source, target);
}

/// A handler of the launcher must not run in the child; what it ignores stays ignored.
void reset_handler(int number) noexcept {
  struct sigaction action {};
  if (::sigaction(number, nullptr, &action) != 0 || action.sa_handler == SIG_IGN) return;
  action = {};
  action.sa_handler = SIG_DFL;
  ::sigaction(number, &action, nullptr);
}

[[noreturn]] void run_child(const ChildPlan& plan) noexcept {
  constexpr int kCannotExecute = 127;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  // The launcher may have died before the line above.
  if (::getppid() != plan.launcher) ::_exit(kCannotExecute);
  reset_handler(SIGINT);
  reset_handler(SIGTERM);
  // The command ignores it for itself; programs count on being ended by it.
  ::signal(SIGPIPE, SIG_DFL);
  ::sigprocmask(SIG_SETMASK, &plan.signals, nullptr);
  replace_descriptor(plan.input, STDIN_FILENO);
  replace_descriptor(plan.output, STDOUT_FILENO);
  replace_descriptor(plan.errors, STDERR_FILENO);
  ::fcntl(plan.socket, F_SETFD, 0);
  ::execvpe(plan.program, plan.arguments, plan.environment);
  ExecFailedFrame frame;
  frame.reason = errno;
  ::send(plan.socket, &frame, sizeof frame, MSG_NOSIGNAL);
  ::_exit(kCannotExecute);
}

/// Forks with all signals blocked, so that no handler runs in the child before it has none.
pid_t fork_child(ChildPlan& plan) {
  plan.launcher = ::getpid();
  sigset_t all;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &plan.signals);
  const pid_t pid = ::fork();
  if (pid == 0) run_child(plan);
  const int reason = errno;
  ::pthread_sigmask(SIG_SETMASK, &plan.signals, nullptr);
  errno = reason;
  if (pid < 0) fail("start a process (fork)");
  return pid;
}

}  // namespace

Child Child::start(const LaunchOptions& options, WorldRank rank) {
  std::array<int, 2> pair{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()) != 0) {
    fail("open a socket pair for a rank");
  }
  UniqueFd mine(pair[0]), its(pair[1]);
  UniqueFd errors_read, errors_write;
  if (options.errors == RankOutput::prefix) {
    if (::pipe2(pair.data(), O_CLOEXEC) != 0) fail("open a pipe for a rank");
    errors_read.reset(pair[0]);
    errors_write.reset(pair[1]);
    ::fcntl(errors_read.get(), F_SETFL, O_NONBLOCK);
  }
  UniqueFd nothing(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!nothing) fail("open /dev/null");

  const PointerArray arguments(options.arguments);
  const PointerArray environment(environment_for(options, rank, its.get()));
  const std::string& program = options.program.empty() ? options.arguments[0] : options.program;
  const bool first = rank == WorldRank{0};
  ChildPlan plan;
  plan.program = program.c_str();
  plan.arguments = arguments.get();
  plan.environment = environment.get();
  plan.socket = its.get();
  plan.input = first ? -1 : nothing.get();
  plan.errors = options.errors == RankOutput::discard ? nothing.get() : errors_write.get();
  if (!first && options.other_output == RankOutput::discard) {
    plan.output = nothing.get();
  } else if (options.output_to_errors) {
    plan.output = plan.errors >= 0 ? plan.errors : STDERR_FILENO;
  }
  return Child(rank, fork_child(plan), std::move(mine), std::move(errors_read));
}

Child::Child(WorldRank rank, pid_t pid, UniqueFd socket, UniqueFd errors)
    : rank_(rank),
      pid_(pid),
      process_(open_pidfd(pid)),
      socket_(std::move(socket)),
      errors_(std::move(errors)),
      prefixer_("[rank " + std::to_string(rank.index()) + "] ") {}

bool Child::stopped() const {
  return running_ && process_is_stopped(pid_);
}

void Child::send(std::span<const std::byte> frame) {
  outgoing_.insert(outgoing_.end(), frame.begin(), frame.end());
  flush();
}

void Child::flush() {
  while (!outgoing_.empty() && socket_) {
    const ssize_t count =
        ::send(socket_.get(), outgoing_.data(), outgoing_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) return;
    if (count < 0) outgoing_.clear();  // it has closed its end: nobody will read this
    if (count > 0) outgoing_.erase(outgoing_.begin(), outgoing_.begin() + count);
  }
}

std::vector<Frame> Child::receive() {
  std::array<std::byte, 4096> bytes;
  bool ended = !socket_;
  while (!ended) {
    const ssize_t count = ::recv(socket_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) break;
    ended = count <= 0;
    if (!ended) reader_.feed(std::span(bytes).first(static_cast<std::size_t>(count)));
  }
  std::vector<Frame> frames;
  try {
    while (auto frame = reader_.next()) {
      if (frame->type == FrameType::error) {
        if (!end_.report) end_.report = decode_error(frame->payload);
      } else if (frame->type == FrameType::exec_failed) {
        std::int32_t reason = 0;
        std::memcpy(&reason, frame->payload.data(), std::min(sizeof reason, frame->payload.size()));
        end_.exec_errno = reason;
      } else {
        frames.push_back(std::move(*frame));
      }
    }
  } catch (const Error&) {
    ended = true;  // not a rank of cohort that speaks there: it can only not be answered
  }
  if (ended) {
    socket_.reset();
    outgoing_.clear();
  }
  return frames;
}

void Child::forward_errors() {
  std::array<char, 4096> text;
  while (errors_) {
    const ssize_t count = ::read(errors_.get(), text.data(), text.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) return;
    if (count <= 0) {
      errors_.reset();
      return;
    }
    const std::string lines = prefixer_.feed({text.data(), static_cast<std::size_t>(count)});
    [[maybe_unused]] const auto written = ::write(STDERR_FILENO, lines.data(), lines.size());
  }
}

void Child::finish_errors() {
  forward_errors();
  const std::string last = prefixer_.finish();
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, last.data(), last.size());
}

void Child::signal(int number) noexcept {
  if (!running_) return;
  end_.ended_by_launcher = true;
  ::kill(pid_, number);  // not reaped yet, so the number is still its own
}

bool Child::reap(std::uint32_t order) {
  if (!running_) return true;
  int status = 0;
  if (::waitpid(pid_, &status, WNOHANG) != pid_) return false;
  running_ = false;
  end_.order = order;
  if (WIFEXITED(status)) end_.exit_code = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) end_.signal = WTERMSIG(status);
  return true;
}

}  // namespace cohort::rendezvous
