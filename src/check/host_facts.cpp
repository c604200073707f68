#include "check/host_facts.hpp"

#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "backend/host/memory_node.hpp"
#include "base/clock.hpp"
#include "base/pidfd.hpp"
#include "base/unique_fd.hpp"
#include "check/system_text.hpp"

namespace cohort::check {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kCpuCountMax = 8192;  // the most that Linux is built for
constexpr std::uint64_t kKib = 1024;

std::string read_text(const fs::path& file) {
  std::ifstream stream(file);
  return {std::istreambuf_iterator<char>(stream), {}};
}

std::string first_line(const fs::path& file) {
  std::ifstream stream(file);
  std::string line;
  std::getline(stream, line);
  return line;
}

std::string kernel_release() {
  utsname name{};
  return ::uname(&name) == 0 ? name.release : "";
}

/// The mean of enough readings to be exact, in a time nobody notices.
double clock_read_ns() {
  constexpr int kCount = 2000;
  const auto began = Clock::now();
  auto last = began;
  for (int i = 0; i < kCount; ++i) last = Clock::now();
  return std::chrono::duration<double, std::nano>(last - began).count() / kCount;
}

std::vector<std::uint32_t> allowed_cpus() {
  std::array<cpu_set_t, kCpuCountMax / CPU_SETSIZE> allowed{};
  std::vector<std::uint32_t> cpus;
  if (::sched_getaffinity(0, sizeof allowed, allowed.data()) != 0) return cpus;
  for (std::uint32_t cpu = 0; cpu < kCpuCountMax; ++cpu) {
    if (CPU_ISSET_S(cpu, sizeof allowed, allowed.data())) cpus.push_back(cpu);
  }
  return cpus;
}

std::uint32_t core_count(const std::vector<std::uint32_t>& cpus) {
  std::vector<std::string> lists;
  for (const std::uint32_t cpu : cpus) {
    lists.push_back(first_line("/sys/devices/system/cpu/cpu" + std::to_string(cpu) +
                               "/topology/thread_siblings_list"));
  }
  return count_cores(lists);
}

std::uint32_t node_count(const std::vector<std::uint32_t>& cpus) {
  std::uint32_t count = 0;
  for (const std::uint32_t node :
       host::parse_cpu_list(first_line("/sys/devices/system/node/online"))) {
    const auto of_node = host::parse_cpu_list(
        first_line("/sys/devices/system/node/node" + std::to_string(node) + "/cpulist"));
    const bool used = std::find_first_of(of_node.begin(), of_node.end(), cpus.begin(),
                                         cpus.end()) != of_node.end();
    if (used) ++count;
  }
  return count;
}

/// Free memory; where the kernel promises no more than it has, also what it may still promise.
std::optional<AvailableMemory> free_memory() {
  auto memory = available_memory();
  constexpr std::uint64_t kNeverOvercommit = 2;
  if (parse_number(first_line("/proc/sys/vm/overcommit_memory")) != kNeverOvercommit) return memory;
  const std::string text = read_text("/proc/meminfo");
  const auto limit = number_after(text, "CommitLimit:");
  const auto promised = number_after(text, "Committed_AS:");
  if (!limit || !promised) return memory;
  const std::uint64_t left = (*limit - std::min(*limit, *promised)) * kKib;
  if (!memory || left < memory->bytes) {
    memory = AvailableMemory{left, "the kernel's commit limit, vm.overcommit_memory=2"};
  }
  return memory;
}

ProcessLimit limit_of(__rlimit_resource resource) {
  rlimit limit{};
  if (::getrlimit(resource, &limit) != 0) return {};
  const auto value = [](rlim_t bound) -> std::optional<std::uint64_t> {
    if (bound == RLIM_INFINITY) return std::nullopt;
    return bound;
  };
  return {value(limit.rlim_cur), value(limit.rlim_max)};
}

std::uint32_t inherited_descriptors() {
  std::uint32_t count = 0;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/proc/self/fd", error)) {
    const auto number = parse_number(entry.path().filename().string());
    const int flags = number ? ::fcntl(static_cast<int>(*number), F_GETFD) : -1;
    if (flags >= 0 && (flags & FD_CLOEXEC) == 0) ++count;
  }
  return error ? 3 : count;
}

Attempt try_memfd() {
  constexpr off_t kBytes = 4096;
  const UniqueFd fd(::memfd_create("cohort-check", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
  // A limit of file sizes is a signal before it is an error; it has a row of its own.
  const bool works = fd &&
                     (limit_of(RLIMIT_FSIZE).now.value_or(kBytes) < kBytes ||
                      ::ftruncate(fd.get(), kBytes) == 0) &&
                     ::fcntl(fd.get(), F_ADD_SEALS, seals) == 0;
  return {works ? 0 : errno};
}

Attempt try_pidfd() {
  const UniqueFd fd = open_pidfd(::getpid());
  return {fd ? 0 : errno};
}

}  // namespace

HostFacts read_host_facts() {
  HostFacts facts;
  facts.inherited_descriptors = inherited_descriptors();
  facts.kernel_release = kernel_release();
  facts.clock_source =
      first_line("/sys/devices/system/clocksource/clocksource0/current_clocksource");
  facts.has_steady_tsc = cpu_has_flag(read_text("/proc/cpuinfo"), "nonstop_tsc");
  facts.clock_read_ns = clock_read_ns();
  const std::vector<std::uint32_t> cpus = allowed_cpus();
  facts.online_cpus = static_cast<std::uint32_t>(std::max(::sysconf(_SC_NPROCESSORS_ONLN), 0L));
  facts.allowed_cpus = static_cast<std::uint32_t>(cpus.size());
  facts.usable_cpus = usable_cpu_count();
  facts.allowed_cores = core_count(cpus);
  facts.allowed_nodes = node_count(cpus);
  facts.memory = free_memory();
  facts.startable_processes = startable_processes();
  facts.shared_huge_pages =
      selected_choice(first_line("/sys/kernel/mm/transparent_hugepage/shmem_enabled"));
  facts.open_files = limit_of(RLIMIT_NOFILE);
  facts.address_space_bytes = limit_of(RLIMIT_AS);
  facts.file_bytes = limit_of(RLIMIT_FSIZE);
  facts.locked_bytes = limit_of(RLIMIT_MEMLOCK);
  const std::string status = read_text("/proc/self/status");
  facts.own_address_bytes = number_after(status, "VmSize:").value_or(0) * kKib;
  facts.memfd = try_memfd();
  facts.pidfd = try_pidfd();
  facts.seccomp_mode = number_after(status, "Seccomp:");
  facts.yama_scope = parse_number(first_line("/proc/sys/kernel/yama/ptrace_scope"));
  return facts;
}

}  // namespace cohort::check
