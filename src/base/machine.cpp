#include <charconv>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include <cohort/path_table.hpp>

#include "base/system_limits.hpp"

namespace cohort {
namespace {

std::string cpu_model() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("model name")) continue;
    const std::size_t colon = line.find(':');
    const std::size_t begin = line.find_first_not_of(" \t", colon + 1);
    if (colon != line.npos && begin != line.npos) return line.substr(begin);
  }
  return "unknown";
}

std::uint32_t numa_node_count() {
  std::uint32_t count = 0;
  std::error_code error;
  for (std::filesystem::directory_iterator entry("/sys/devices/system/node", error), end;
       !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename();
    if (name.starts_with("node") && name.find_first_not_of("0123456789", 4) == name.npos) ++count;
  }
  return count == 0 ? 1 : count;
}

std::string counted(std::uint32_t count, const char* what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

}  // namespace

Machine this_machine() {
  return {cpu_model(), usable_cpu_count(), numa_node_count()};
}

std::string to_string(const Machine& machine) {
  return machine.cpu + ", " + counted(machine.cpus, "CPU") + ", " +
         counted(machine.numa_nodes, "NUMA node");
}

}  // namespace cohort
