#include "torch_subject.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <sstream>
#include <stdexcept>
#include <utility>

namespace cohort::gpu_bench {
namespace {

constexpr int kPatienceMs = 90'000;

}  // namespace

class TorchProcess {
 public:
  TorchProcess(const Ranks& ranks, const std::string& script, const std::string& store) {
    std::array<int, 2> to{};
    std::array<int, 2> from{};
    if (::pipe2(to.data(), O_CLOEXEC) != 0 || ::pipe2(from.data(), O_CLOEXEC) != 0)
      throw std::runtime_error("no pipe for PyTorch's process");
    // Whoever writes to a process that is gone gets an error, not a signal.
    ::signal(SIGPIPE, SIG_IGN);
    const std::string rank = std::to_string(ranks.rank());
    const std::string count = std::to_string(ranks.count());
    child_ = ::fork();
    if (child_ < 0) throw std::runtime_error("fork failed");
    if (child_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      ::dup2(to[0], STDIN_FILENO);
      ::dup2(from[1], STDOUT_FILENO);
      ::execlp("python3", "python3", script.c_str(), rank.c_str(), count.c_str(), store.c_str(),
               static_cast<char*>(nullptr));
      ::_exit(127);
    }
    to_ = UniqueFd(to[1]);
    from_ = UniqueFd(from[0]);
    ::close(to[0]);
    ::close(from[1]);
  }
  ~TorchProcess() {
    to_.reset();
    ::kill(child_, SIGKILL);
    ::waitpid(child_, nullptr, 0);
  }
  TorchProcess(const TorchProcess&) = delete;
  TorchProcess& operator=(const TorchProcess&) = delete;

  /// Sends a line, and returns the line that answers it behind "ok ".
  /// Throws: std::runtime_error with what PyTorch says, or if it says nothing.
  std::string ask(const std::string& line) {
    const std::string sent = line + "\n";
    if (::write(to_.get(), sent.data(), sent.size()) != static_cast<ssize_t>(sent.size()))
      throw std::runtime_error("PyTorch's process has ended");
    return answer();
  }

  std::string answer() {
    const std::string line = read_line();
    if (line.starts_with("ok")) return line.size() > 3 ? line.substr(3) : std::string();
    throw std::runtime_error("PyTorch: " + line);
  }

 private:
  std::string read_line() {
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(kPatienceMs);
    for (;;) {
      const std::size_t newline = pending_.find('\n');
      if (newline != std::string::npos) {
        std::string line = pending_.substr(0, newline);
        pending_.erase(0, newline + 1);
        return line;
      }
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
          end - std::chrono::steady_clock::now());
      pollfd waiting{from_.get(), POLLIN, 0};
      if (left.count() <= 0 || ::poll(&waiting, 1, static_cast<int>(left.count())) <= 0)
        throw std::runtime_error("PyTorch's process does not answer");
      std::array<char, 4096> part{};
      const ssize_t bytes = ::read(from_.get(), part.data(), part.size());
      if (bytes <= 0) throw std::runtime_error("PyTorch's process has ended");
      pending_.append(part.data(), static_cast<std::size_t>(bytes));
    }
  }

  pid_t child_ = -1;
  UniqueFd to_;
  UniqueFd from_;
  std::string pending_;
};

namespace {

class TorchSubject final : public Subject {
 public:
  TorchSubject(std::string name, std::string variant, std::shared_ptr<TorchProcess> process)
      : Subject(std::move(name)), variant_(std::move(variant)), process_(std::move(process)) {}
  ~TorchSubject() override = default;

  std::optional<std::string> refuses(const Point& point) override {
    const bool scatters = variant_ == "reduce_scatter";
    const bool answers = scatters ? point.operation == Operation::reduce_scatter
                                  : point.operation == Operation::all_reduce ||
                                        point.operation == Operation::all_reduce_norm;
    if (!answers) return "PyTorch has no such operation on symmetric memory";
    if (point.bytes > (std::uint64_t{32} << 20)) return "left out, for time: far behind at 8 MiB";
    return std::nullopt;
  }
  void prepare(const Point& point, std::uint32_t calls) override {
    std::ostringstream line;
    line << "prepare " << variant_ << ' ' << to_string(point.operation) << ' '
         << cohort::to_string(point.dtype) << ' ' << point.bytes << ' ' << calls << ' '
         << (point.rotating ? 1 : 0);
    process_->ask(line.str());
    prepared_ = true;
  }
  std::uint64_t verify(std::uint32_t seed) override {
    return std::stoull(process_->ask("verify " + std::to_string(seed)));
  }
  double replay_us() override { return std::stod(process_->ask("replay")); }
  void release() override {
    if (std::exchange(prepared_, false)) process_->ask("release");
  }

 private:
  std::string variant_;
  std::shared_ptr<TorchProcess> process_;
  bool prepared_ = false;
};

}  // namespace

std::shared_ptr<TorchProcess> start_torch(const Ranks& ranks, const std::string& script,
                                          const std::string& store) {
  return std::make_shared<TorchProcess>(ranks, script, store);
}

std::vector<std::unique_ptr<Subject>> torch_subjects(const std::shared_ptr<TorchProcess>& process,
                                                     std::string& version) {
  std::istringstream hello(process->answer());
  hello >> version;
  std::vector<std::unique_ptr<Subject>> subjects;
  std::string variant;
  while (hello >> variant)
    subjects.push_back(std::make_unique<TorchSubject>("torch_" + variant, variant, process));
  return subjects;
}

}  // namespace cohort::gpu_bench
