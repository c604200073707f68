#include "bench_rank_set.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string_view>

#include <cohort/error.hpp>

#include "base/clock.hpp"
#include "interruption.hpp"
#include "rendezvous/launcher.hpp"

namespace cohort::bench {
namespace {

constexpr double kStartSeconds = 30;
constexpr double kAnswerSeconds = 120;
constexpr double kQuitSeconds = 3;
constexpr double kEndSeconds = 5;  // longer than a launcher gives its ranks
constexpr int kPollSliceMs = 100;

Error system_error(const std::string& what) {
  return Error(ErrorCode::system, "cannot " + what + ": " + std::strerror(errno), std::nullopt,
               "bench");
}

UniqueFd listen_at(const std::string& name) {
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path + 1, name.data(), name.size());  // a leading 0: no file
  const auto bytes = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  if (!fd || ::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), bytes) != 0 ||
      ::listen(fd.get(), SOMAXCONN) != 0) {
    throw system_error("listen for ranks");
  }
  return fd;
}

bool is_of_this_user(const UniqueFd& connection) {
  ucred peer{};
  socklen_t bytes = sizeof(peer);
  return ::getsockopt(connection.get(), SOL_SOCKET, SO_PEERCRED, &peer, &bytes) == 0 &&
         peer.uid == ::getuid();
}

/// The first line of whoever has connected, or what there is of it when its time is over.
std::string hello_of(const UniqueFd& connection) {
  constexpr timeval kLimit{.tv_sec = 5, .tv_usec = 0};
  constexpr std::size_t kBytesMax = 100;
  ::setsockopt(connection.get(), SOL_SOCKET, SO_RCVTIMEO, &kLimit, sizeof kLimit);
  std::string hello;
  for (char c = 0; hello.size() < kBytesMax && ::read(connection.get(), &c, 1) == 1 && c != '\n';) {
    hello += c;
  }
  return hello;
}

std::string next_socket_name() {
  static int count = 0;
  return "cohort-bench-" + std::to_string(::getpid()) + "-" + std::to_string(++count);
}

UniqueFd memory_file(const char* name) {
  // Ranks open it by its path in this process, which needs no descriptor of their own.
  UniqueFd fd(::memfd_create(name, MFD_CLOEXEC));
  if (!fd) throw system_error("create a memory file");
  return fd;
}

std::string path_of(const UniqueFd& fd) {
  return "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(fd.get());
}

/// The new process must not lose a signal in a handler of this one's: until it has its own, it ends
/// by it.
pid_t fork_with_default_signals() {
  sigset_t stops;
  sigset_t before;
  sigemptyset(&stops);
  for (const int number : {SIGINT, SIGTERM}) sigaddset(&stops, number);
  ::pthread_sigmask(SIG_BLOCK, &stops, &before);
  const pid_t pid = ::fork();
  const int reason = errno;
  for (const int number : {SIGINT, SIGTERM}) {
    struct sigaction action {};
    const bool ignored = ::sigaction(number, nullptr, &action) != 0 || action.sa_handler == SIG_IGN;
    if (pid == 0 && !ignored) ::signal(number, SIG_DFL);
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  errno = reason;
  return pid;
}

/// All but what was handed to this command: ranks may be told to read from that, e.g. a path table
/// from /dev/fd/63.
void close_own_descriptors() {
  std::vector<int> own;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    const int number = std::atoi(entry.path().filename().c_str());
    const int flags = ::fcntl(number, F_GETFD);
    if (flags >= 0 && (flags & FD_CLOEXEC) != 0) own.push_back(number);
  }
  for (const int number : own) ::close(number);
}

}  // namespace

std::string label_of(const Implementation& implementation) {
  if (implementation.setting.empty()) return implementation.name;
  return implementation.name + "/" + implementation.setting;
}

RankSet::RankSet(const Implementation& implementation, std::uint32_t rank_count,
                 std::size_t bytes_max)
    : implementation_(implementation),
      scale_(deadline_scale_from_environment()),
      ranks_(rank_count),
      memory_(memory_file("cohort-bench")),
      output_(memory_file("cohort-bench-output")) {
  const std::string socket_name = next_socket_name();
  const UniqueFd listener = listen_at(socket_name);
  start(socket_name, bytes_max);
  try {
    accept_ranks(listener);
  } catch (...) {
    ranks_.clear();  // ends those that did connect
    end_launcher();
    throw;
  }
}

void RankSet::start(const std::string& socket_name, std::size_t bytes_max) {
  LaunchOptions options;
  options.rank_count = implementation_.starts_its_ranks ? 1 : rank_count();
  options.program = implementation_.program.empty() ? "/proc/self/exe" : implementation_.program;
  options.arguments = implementation_.arguments;
  options.environment = implementation_.environment;
  options.environment.insert(options.environment.end(),
                             {{"COHORT_BENCH_SOCKET", socket_name},
                              {"COHORT_BENCH_MEMORY", path_of(memory_)},
                              {"COHORT_BENCH_NAME", implementation_.name},
                              {"COHORT_BENCH_BYTES_MAX", std::to_string(bytes_max)}});
  options.grace = std::chrono::milliseconds(500);
  const pid_t parent = ::getpid();
  launcher_ = fork_with_default_signals();
  if (launcher_ < 0) throw system_error("start ranks");
  if (launcher_ > 0) return;
  // The launcher stays with its ranks, so every implementation gets a process for that.
  int exit_code = 1;
  try {
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (::getppid() != parent) ::_exit(1);
    ::dup2(output_.get(), STDOUT_FILENO);
    ::dup2(output_.get(), STDERR_FILENO);
    close_own_descriptors();  // the other implementations' connections among them
    const LaunchResult result = launch(options);
    if (result.fault) {
      const std::string text = std::string(result.fault->what()) + "\n";
      static_cast<void>(::write(STDERR_FILENO, text.data(), text.size()));
    }
    exit_code = result.exit_code;
  } catch (const std::exception& error) {
    const std::string text = std::string(error.what()) + "\n";
    static_cast<void>(::write(STDERR_FILENO, text.data(), text.size()));
  }
  ::_exit(exit_code);
}

void RankSet::accept_ranks(const UniqueFd& listener) {
  const Stopwatch watch;
  for (std::uint32_t connected = 0; connected < rank_count();) {
    pollfd polled{listener.get(), POLLIN, 0};
    Interruption::check();
    if (::poll(&polled, 1, kPollSliceMs) <= 0) {
      if (ended()) fail("its ranks ended at once");
      if (watch.seconds() > kStartSeconds * scale_) {
        fail("its ranks did not start in time");
      }
      continue;
    }
    UniqueFd connection(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!connection || !is_of_this_user(connection)) continue;
    const std::string hello = hello_of(connection);
    unsigned rank = 0;
    unsigned count = 0;
    if (std::sscanf(hello.c_str(), "rank %u of %u", &rank, &count) != 2 || count != rank_count() ||
        rank >= count || ranks_[rank]) {
      fail("a rank said '" + hello + "' where " + std::to_string(rank_count()) + " were started");
    }
    ranks_[rank] = std::move(connection);
    ++connected;
  }
}

RankSet::~RankSet() {
  // Ranks in the middle of something are not waited for once the user has had enough.
  if (Interruption::came()) end_launcher();
  for (const UniqueFd& rank : ranks_) {
    if (rank) static_cast<void>(::send(rank.get(), "quit\n", 5, MSG_NOSIGNAL));
  }
  const Stopwatch watch;
  while (!ended()) {
    if (watch.seconds() > kQuitSeconds) {
      end_launcher();
      return;
    }
    ::poll(nullptr, 0, 2);
  }
}

/// Ends the ranks with their launcher, which takes them along if it must be killed. Never signals a
/// process that has been reaped: its number may be another's, and -1 is everybody's.
void RankSet::end_launcher() noexcept {
  if (ended()) return;
  ::kill(launcher_, SIGTERM);
  const Stopwatch watch;
  while (!ended() && watch.seconds() < 2 * kEndSeconds * scale_) {
    // It may be stopped, and heed nothing else.
    if (watch.seconds() > kEndSeconds * scale_) ::kill(launcher_, SIGKILL);
    ::poll(nullptr, 0, 2);
  }
}

bool RankSet::ended() noexcept {
  if (launcher_ > 0 && ::waitpid(launcher_, nullptr, WNOHANG) == launcher_) launcher_ = -1;
  return launcher_ <= 0;
}

std::string RankSet::last_words() const {
  std::string text(1 << 16, '\0');
  const off_t end = ::lseek(output_.get(), 0, SEEK_END);
  const off_t begin = std::max<off_t>(0, end - static_cast<off_t>(text.size()));
  const ssize_t bytes = ::pread(output_.get(), text.data(), text.size(), begin);
  text.resize(bytes > 0 ? static_cast<std::size_t>(bytes) : 0);
  // Launchers like to draw lines under what they have to say.
  while (!text.empty() && std::strchr("\n -=*", text.back()) != nullptr) text.pop_back();
  return text.substr(text.rfind('\n') + 1);
}

void RankSet::fail(const std::string& what) {
  const std::string words = last_words();
  throw Error(ErrorCode::peer_failed,
              label_of(implementation_) + " cannot be measured: " + what +
                  (words.empty() ? "" : "; last it wrote '" + words + "'"),
              std::nullopt, "bench");
}

void RankSet::read_bytes(std::uint32_t rank, void* data, std::size_t bytes) {
  auto* to = static_cast<char*>(data);
  while (bytes > 0) {
    std::array<pollfd, 2> polled{pollfd{ranks_[rank].get(), POLLIN, 0},
                                 pollfd{Interruption::fd(), POLLIN, 0}};
    const int wait_ms = static_cast<int>(kAnswerSeconds * scale_ * 1000);
    const int ready = ::poll(polled.data(), polled.size(), wait_ms);
    Interruption::check();
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) fail("rank " + std::to_string(rank) + " does not answer");
    const ssize_t count = ::read(polled[0].fd, to, bytes);
    if (count <= 0) fail("rank " + std::to_string(rank) + " ended");
    to += count;
    bytes -= static_cast<std::size_t>(count);
  }
}

std::string RankSet::read_line(std::uint32_t rank) {
  std::string line;
  for (char c = 0;;) {
    read_bytes(rank, &c, 1);
    if (c == '\n') return line;
    line += c;
  }
}

std::vector<std::string> RankSet::ask(const std::string& line) {
  const std::string sent = line + "\n";
  for (const UniqueFd& rank : ranks_) {
    static_cast<void>(::send(rank.get(), sent.data(), sent.size(), MSG_NOSIGNAL));
  }
  std::vector<std::string> answers;
  for (std::uint32_t rank = 0; rank < rank_count(); ++rank) answers.push_back(read_line(rank));
  return answers;
}

/// Of "times N": a run may have been of many calls.
std::size_t RankSet::count_of_times(const std::string& answer, std::size_t most) {
  constexpr std::string_view kTimes = "times ";
  std::size_t count = 0;
  const char* const end = answer.data() + answer.size();
  if (answer.starts_with(kTimes)) {
    const auto [rest, error] = std::from_chars(answer.data() + kTimes.size(), end, count);
    if (error == std::errc{} && rest == end && count >= 1 && count <= most) return count;
  }
  fail("it answered '" + answer + "'");
}

std::vector<float> RankSet::time(const Job& job) {
  const std::string sent = "time " + to_line(job) + "\n";
  for (const UniqueFd& rank : ranks_) {
    static_cast<void>(::send(rank.get(), sent.data(), sent.size(), MSG_NOSIGNAL));
  }
  std::vector<float> longest;
  std::vector<float> times;
  for (std::uint32_t rank = 0; rank < rank_count(); ++rank) {
    const std::size_t count = count_of_times(read_line(rank), job.count);
    if (rank == 0) {
      longest.resize(count, 0);
      times.resize(count);
    } else if (count != times.size()) {
      fail("its ranks timed " + std::to_string(times.size()) + " and " + std::to_string(count) +
           " runs");
    }
    read_bytes(rank, times.data(), times.size() * sizeof(float));
    for (std::size_t i = 0; i < times.size(); ++i) longest[i] = std::max(longest[i], times[i]);
  }
  return longest;
}

}  // namespace cohort::bench
