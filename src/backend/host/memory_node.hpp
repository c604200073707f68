#pragma once

// Which memory (NUMA) node a rank runs on, as far as its CPU affinity says.

#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

namespace cohort::host {

/// A rank that may run on CPUs of several nodes, or of which nothing is known.
inline constexpr std::uint32_t kAnyNode = 0xFFFFFFFFU;

/// The number of the one node that has all CPUs the calling thread may run on, or kAnyNode. Local.
std::uint32_t memory_node_of_thread();

/// The number of the one node under `directory` (laid out as in /sys/devices/system/node) that has
/// all of `cpus`, or kAnyNode.
std::uint32_t memory_node_of(std::span<const std::uint32_t> cpus,
                             const std::filesystem::path& directory);

/// "0-3,8" as 0, 1, 2, 3, 8; what cannot be read is left out.
std::vector<std::uint32_t> parse_cpu_list(std::string_view text);

}  // namespace cohort::host
