#pragma once

// What graphs with captured calls have to do over any plugin: the fake of tests/support and a real
// one. Each function is the body of one rank.

#include <cstdint>
#include <functional>
#include <string>

#include <cohort/cohort.hpp>

#include "backend/cuda/abi.hpp"

namespace cohort::contract {

struct GraphRun {
  const cuda::Api* api = nullptr;
  std::uint32_t device = 0;
  std::uint32_t replays = 1000;
  /// A multiple of the number of ranks.
  std::size_t row_elements = 24;
  /// Overwrites what nobody holds of the device's memory; by all ranks while no kernel runs.
  std::function<void()> poison_free_memory = [] {};
};

/// Graphs for several row counts own their leases, no handle is left, and all memory that they do
/// not own is overwritten time and again: replayed in random order on new inputs, each gives the
/// sums of those, and the ledger counts every call. Then they go, their entries come back, and the
/// last of them outlives the session.
std::string replay_graphs(World& world, const GraphRun& run);

/// Replays a graph on the ranks that `replays` names after a recommit has replaced its group's
/// memory; the others make a call. Ends with the job's error, which it throws.
std::string replay_stale_graph(World& world, const GraphRun& run,
                               const std::function<bool(WorldRank)>& replays);

/// Replays a graph after a recommit that changed its slot, but not its group's largest operand.
std::string replay_on_changed_slot(World& world, const GraphRun& run);

}  // namespace cohort::contract
