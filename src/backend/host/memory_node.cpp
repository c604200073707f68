#include "backend/host/memory_node.hpp"

#include <sched.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <optional>
#include <string>
#include <system_error>

namespace cohort::host {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kCpuCountMax = 8192;  // the most that Linux is built for

std::optional<std::uint32_t> parse_number(std::string_view text) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

std::vector<std::uint32_t> parse_cpu_list(std::string_view text) {
  std::vector<std::uint32_t> cpus;
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.remove_suffix(1);
  while (!text.empty()) {
    const std::size_t comma = std::min(text.find(','), text.size());
    const std::string_view range = text.substr(0, comma);
    text.remove_prefix(std::min(comma + 1, text.size()));
    const std::size_t dash = range.find('-');
    const auto first = parse_number(range.substr(0, dash));
    const auto last = dash == std::string_view::npos ? first : parse_number(range.substr(dash + 1));
    if (!first || !last || *last >= kCpuCountMax) continue;
    for (std::uint32_t cpu = *first; cpu <= *last; ++cpu) cpus.push_back(cpu);
  }
  return cpus;
}

std::uint32_t memory_node_of(std::span<const std::uint32_t> cpus, const fs::path& directory) {
  if (cpus.empty()) return kAnyNode;
  std::error_code error;
  const fs::directory_iterator end;
  for (fs::directory_iterator entry(directory, error); !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    const auto number =
        name.starts_with("node") ? parse_number(std::string_view(name).substr(4)) : std::nullopt;
    if (!number) continue;
    std::ifstream file(entry->path() / "cpulist");
    std::string text;
    std::getline(file, text);
    const std::vector<std::uint32_t> of_node = parse_cpu_list(text);
    const auto is_of_node = [&](std::uint32_t cpu) {
      return std::find(of_node.begin(), of_node.end(), cpu) != of_node.end();
    };
    if (std::all_of(cpus.begin(), cpus.end(), is_of_node)) return *number;
  }
  return kAnyNode;
}

std::uint32_t memory_node_of_thread() {
  std::array<cpu_set_t, kCpuCountMax / CPU_SETSIZE> allowed{};
  if (::sched_getaffinity(0, sizeof allowed, allowed.data()) != 0) return kAnyNode;
  std::vector<std::uint32_t> cpus;
  for (std::uint32_t cpu = 0; cpu < kCpuCountMax; ++cpu) {
    if (CPU_ISSET_S(cpu, sizeof allowed, allowed.data())) cpus.push_back(cpu);
  }
  return memory_node_of(cpus, "/sys/devices/system/node");
}

}  // namespace cohort::host
