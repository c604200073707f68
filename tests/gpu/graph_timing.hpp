#pragma once

// Times calls of a group as graphs, for programs that look for the fastest shapes.

#include <cstdint>
#include <functional>

#include "gpu/device_group.hpp"

namespace cohort::test {

/// What one rank puts into its stream.
using Enqueue = std::function<void(std::uint32_t member)>;

/// Runs `work` on one thread for each rank, with its device current. What goes wrong ends the
/// program with the reason: other ranks may be waiting for that one.
void run_on_ranks(const DeviceGroup& group, const Enqueue& work);

/// Microseconds of a call: `calls` of them in a graph, the slowest rank of each replay, the median
/// over replays. Throws: std::runtime_error if one left a fault.
double time_in_graph(const DeviceGroup& group, int calls, const Enqueue& enqueue);

}  // namespace cohort::test
