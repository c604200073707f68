#include "base/system_limits.hpp"

#include <sched.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>
#include <sstream>
#include <vector>

namespace cohort {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kUnlimited = std::numeric_limits<std::size_t>::max();

/// The control group directories of this process for `controller`, innermost first: a limit set
/// on any of them holds.
std::vector<fs::path> control_groups(const std::string& controller) {
  std::vector<fs::path> directories;
  std::ifstream memberships("/proc/self/cgroup");
  for (std::string line; std::getline(memberships, line);) {  // "4:memory:/path" or "0::/path"
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const bool unified = controllers.empty();
    if (!unified && ("," + controllers + ",").find("," + controller + ",") == std::string::npos) {
      continue;
    }
    const fs::path root = fs::path("/sys/fs/cgroup") / (unified ? "" : controller);
    const fs::path inner = fs::path(line.substr(second + 1)).relative_path();
    for (fs::path part = inner; !part.empty(); part = part.parent_path()) {
      directories.push_back(root / part);
    }
    directories.push_back(root);
  }
  return directories;
}

std::optional<std::size_t> read_number(const fs::path& file) {
  std::ifstream stream(file);
  std::size_t value = 0;
  if (stream >> value) return value;
  return std::nullopt;
}

/// The value after `key` in a file of "key value" lines.
std::size_t read_field(const fs::path& file, const std::string& key) {
  std::ifstream stream(file);
  std::string name;
  for (std::string line; std::getline(stream, line);) {
    std::istringstream words(line);
    std::size_t value = 0;
    if (words >> name >> value && name == key) return value;
  }
  return 0;
}

/// What a control group leaves free; page cache that the kernel would drop counts as free.
std::size_t free_in_group(const fs::path& group) {
  const auto limit = read_number(group / "memory.max");
  const auto limit_v1 = read_number(group / "memory.limit_in_bytes");
  if (!limit && !limit_v1) return kUnlimited;  // "max", or no such controller
  const std::size_t used = limit ? read_number(group / "memory.current").value_or(0)
                                 : read_number(group / "memory.usage_in_bytes").value_or(0);
  const std::size_t cache =
      read_field(group / "memory.stat", limit ? "inactive_file" : "total_inactive_file");
  const std::size_t held = used - std::min(used, cache);
  const std::size_t allowed = limit.value_or(limit_v1.value_or(kUnlimited));
  return allowed - std::min(allowed, held);
}

/// CPUs that a quota amounts to, rounded up.
std::size_t quota_of_group(const fs::path& group) {
  std::ifstream unified(group / "cpu.max");
  std::ifstream first_version(group / "cpu.cfs_quota_us");
  // Signed: where nothing is limited, the first version says -1 and the second "max".
  std::int64_t quota = 0;
  std::int64_t period = 0;
  if (!(unified >> quota >> period) && first_version >> quota) {
    std::ifstream(group / "cpu.cfs_period_us") >> period;
  }
  if (quota <= 0 || period <= 0) return kUnlimited;
  return static_cast<std::size_t>((quota + period - 1) / period);
}

}  // namespace

std::uint32_t usable_cpu_count() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  std::size_t count = 1;
  if (::sched_getaffinity(0, sizeof allowed, &allowed) == 0) {
    count = static_cast<std::size_t>(std::max(CPU_COUNT(&allowed), 1));
  }
  for (const fs::path& group : control_groups("cpu"))
    count = std::min(count, quota_of_group(group));
  return static_cast<std::uint32_t>(std::max<std::size_t>(count, 1));
}

std::optional<AvailableMemory> available_memory() {
  constexpr std::size_t kKib = 1024;
  AvailableMemory available{read_field("/proc/meminfo", "MemAvailable:") * kKib,
                            "the machine's free memory"};
  if (available.bytes == 0) return std::nullopt;
  for (const fs::path& group : control_groups("memory")) {
    const std::size_t left = free_in_group(group);
    if (left < available.bytes) available = {left, "the memory limit of the container"};
  }
  return available;
}

std::optional<std::size_t> startable_processes() {
  std::optional<std::size_t> least;
  for (const fs::path& group : control_groups("pids")) {
    const auto most = read_number(group / "pids.max");  // none for "max"
    if (!most) continue;
    const std::size_t left =
        *most - std::min(*most, read_number(group / "pids.current").value_or(0));
    least = std::min(left, least.value_or(left));
  }
  return least;
}

bool process_is_stopped(std::int64_t pid) {
  std::ifstream stream("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(stream, text);
  // "pid (name) state ...": the name may contain anything, so look after its last parenthesis.
  const std::size_t end = text.rfind(") ");
  return end != std::string::npos && end + 2 < text.size() &&
         (text[end + 2] == 'T' || text[end + 2] == 't');
}

}  // namespace cohort
