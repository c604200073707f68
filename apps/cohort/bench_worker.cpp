#include "bench_worker.hpp"

#include <sched.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <vector>

#include "bench_values.hpp"

namespace cohort::bench {
namespace {

constexpr std::size_t kPoolBytesMin = std::size_t{16} << 20;
constexpr std::size_t kPageBytes = 4096;
constexpr std::size_t kLineBytes = 64;

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr) throw std::runtime_error(std::string(name) + " is not set");
  return value;
}

std::size_t number(const char* name) {
  const std::string text = variable(name);
  try {
    return std::stoull(text);
  } catch (const std::exception&) {
    throw std::runtime_error(std::string(name) + "='" + text + "' is not a number");
  }
}

/// The command's end of the line.
class Connection {
 public:
  explicit Connection(const std::string& name) : fd_(::socket(AF_UNIX, SOCK_STREAM, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::size_t length = std::min(name.size(), sizeof(address.sun_path) - 1);
    std::memcpy(address.sun_path + 1, name.data(), length);  // a leading 0: no file
    const auto bytes = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + length);
    if (fd_ < 0 || ::connect(fd_, reinterpret_cast<sockaddr*>(&address), bytes) != 0) {
      throw std::runtime_error("cannot reach the command at @" + name);
    }
  }
  ~Connection() { ::close(fd_); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  /// The next line, or "quit" once the command is gone.
  std::string read_line() {
    std::string line;
    for (char c = 0;;) {
      if (::read(fd_, &c, 1) != 1) return "quit";
      if (c == '\n') return line;
      line += c;
    }
  }
  void write(const void* data, std::size_t bytes) const {
    for (std::size_t done = 0; done < bytes;) {
      const ssize_t count =
          ::send(fd_, static_cast<const char*>(data) + done, bytes - done, MSG_NOSIGNAL);
      if (count <= 0) return;  // the command is gone: the next read says so
      done += static_cast<std::size_t>(count);
    }
  }
  void write_line(std::string line) const {
    std::replace(line.begin(), line.end(), '\n', ' ');
    line += '\n';
    write(line.data(), line.size());
  }

 private:
  int fd_;
};

constexpr std::size_t kRunsMin = 3;

/// Where the operands of the calls of one job lie, one call after the other.
class Rotation {
 public:
  Rotation(const Job& job, std::size_t pool)
      // One line more than whole pages, so that buffers do not fall on the same cache sets.
      : stride_((job.bytes + kPageBytes - 1) / kPageBytes * kPageBytes + kLineBytes),
        count_(job.rotating ? std::max<std::size_t>(pool / stride_, 1) : 1) {}

  std::size_t next() {
    const std::size_t offset = index_ * stride_;
    if (++index_ >= count_) index_ = 0;
    return offset;
  }

 private:
  std::size_t stride_;
  std::size_t count_;
  std::size_t index_ = 0;
};

/// A look at the clock has to cost little against the shortest call.
std::uint64_t ticks() noexcept {
#if defined(__x86_64__)
  return __builtin_ia32_rdtsc();
#else
  return static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
#endif
}

float us_per_tick() {
  static const float value = [] {
    using Clock = std::chrono::steady_clock;
    const Clock::time_point began = Clock::now();
    const std::uint64_t first = ticks();
    while (Clock::now() - began < std::chrono::milliseconds(5)) {
    }
    const std::uint64_t last = ticks();
    const std::chrono::duration<float, std::micro> elapsed = Clock::now() - began;
    return elapsed.count() / static_cast<float>(last - first);
  }();
  return value;
}

/// Where the operands of one call begin; in place, the input lies in the output.
Pools operands_at(const Subject& subject, const Job& job, const Pools& pools, std::size_t offset) {
  if (!job.in_place) return {pools.input + offset, pools.output + offset};
  std::byte* const output = pools.output + offset;
  return {output + in_place_offset(job, subject.rank(), subject.rank_count()), output};
}

std::vector<float> time_calls(Subject& subject, const Job& job, std::size_t pool) {
  const Pools pools = subject.pools(job);
  Rotation rotation(job, pool);
  subject.begin(job);
  const std::size_t calls = subject.calls_per_run();
  // A run of many calls is one sample, and the job says how many calls there is time for.
  std::vector<float> times(std::max(job.count / calls, std::min(job.count, kRunsMin)));
  const std::size_t warm_up = std::clamp<std::size_t>(job.count / 10, 2, 20);
  const Pools first = operands_at(subject, job, pools, 0);
  for (std::size_t i = 0; i < warm_up; ++i) subject.run(first.input, first.output);
  const float scale = us_per_tick() / static_cast<float>(calls);
  const bool prepares = subject.prepares_runs();
  std::uint64_t began = ticks();
  for (float& time : times) {
    const Pools operands = operands_at(subject, job, pools, rotation.next());
    if (prepares) {
      subject.prepare_run();
      began = ticks();
    }
    subject.run(operands.input, operands.output);
    // One look at the clock a call: the end of a call is the beginning of the next.
    const std::uint64_t now = ticks();
    time = static_cast<float>(now - began) * scale;
    began = now;
  }
  return times;
}

}  // namespace

WorkerSettings worker_settings() {
  WorkerSettings settings;
  settings.socket = variable("COHORT_BENCH_SOCKET");
  settings.memory = variable("COHORT_BENCH_MEMORY");
  settings.name = variable("COHORT_BENCH_NAME");
  settings.bytes_max = number("COHORT_BENCH_BYTES_MAX");
  if (std::getenv("COHORT_RANK") != nullptr) {
    settings.rank = static_cast<std::uint32_t>(number("COHORT_RANK"));
    settings.rank_count = static_cast<std::uint32_t>(number("COHORT_WORLD_SIZE"));
  }
  return settings;
}

std::size_t pool_bytes(std::size_t bytes_max) noexcept {
  const std::size_t whole = (bytes_max + kPageBytes - 1) / kPageBytes * kPageBytes + kPageBytes;
  return std::max(kPoolBytesMin, 2 * whole);
}

Pools ordinary_pools(std::size_t bytes) {
  const auto allocate = [bytes] {
    void* data = std::aligned_alloc(kPageBytes, bytes);
    if (data == nullptr) throw std::runtime_error("no memory for operands");
    std::memset(data, 1, bytes);
    return static_cast<std::byte*>(data);
  };
  return {allocate(), allocate()};
}

void Subject::store(std::byte* to, const std::byte* from, std::size_t bytes) {
  std::copy_n(from, bytes, to);
}

void Subject::load(std::byte* to, const std::byte* from, std::size_t bytes) {
  std::copy_n(from, bytes, to);
}

std::string verify(Subject& subject, const Job& job) {
  const Pools pools = operands_at(subject, job, subject.pools(job), 0);
  subject.begin(job);
  if (!has_result(job.op)) {
    subject.run_once(pools.input, pools.output);
    return "";
  }
  const bool in_place = job.op == "broadcast";
  std::vector<std::byte> result(output_bytes(job, subject.rank_count()));
  poison(result.data(), result.size());
  subject.store(pools.output, result.data(), result.size());
  if (!in_place || subject.rank() == 0) {
    std::vector<std::byte> operand(input_bytes(job, subject.rank_count()));
    fill_operand(job, subject.rank(), operand.data(), operand.size());
    subject.store(in_place ? pools.output : pools.input, operand.data(), operand.size());
  }
  subject.run_once(pools.input, pools.output);
  subject.load(result.data(), pools.output, result.size());
  return check_result(job, subject.rank(), subject.rank_count(), result.data());
}

void bind_to_cpu(std::uint32_t rank) {
  cpu_set_t usable;
  if (::sched_getaffinity(0, sizeof(usable), &usable) != 0) return;
  const std::uint32_t turn = rank % static_cast<std::uint32_t>(CPU_COUNT(&usable));
  std::uint32_t seen = 0;
  for (std::size_t cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &usable) || seen++ != turn) continue;
    cpu_set_t own;
    CPU_ZERO(&own);
    CPU_SET(cpu, &own);
    ::sched_setaffinity(0, sizeof(own), &own);
    return;
  }
}

void serve(Subject& subject, const WorkerSettings& settings) {
  Connection command(settings.socket);
  command.write_line("rank " + std::to_string(subject.rank()) + " of " +
                     std::to_string(subject.rank_count()));
  const std::size_t pool = pool_bytes(settings.bytes_max);
  us_per_tick();  // measured before anybody waits for this rank
  while (true) {
    const std::string line = command.read_line();
    const std::string verb = line.substr(0, line.find(' '));
    if (verb == "quit") return;
    if (verb == "facts") {
      command.write_line("facts " + subject.facts());
      continue;
    }
    if (verb == "table") {
      command.write_line("table " + subject.table());
      continue;
    }
    const Job job = parse_job(line.substr(std::min(line.size(), verb.size() + 1)));
    if (!subject.supports(job)) {
      command.write_line("unsupported");
    } else if (verb == "verify") {
      const std::string wrong = verify(subject, job);
      command.write_line(wrong.empty() ? "ok " + subject.path() : "wrong " + wrong);
    } else {
      const std::vector<float> times = time_calls(subject, job, pool);
      command.write_line("times " + std::to_string(times.size()));
      command.write(times.data(), times.size() * sizeof(float));
    }
  }
}

}  // namespace cohort::bench
