#pragma once

// What a Domain holds besides the words that its inline functions touch. Private to domain*.cpp.

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "backend/host/control_segment.hpp"
#include "backend/host/domain.hpp"
#include "backend/host/health_file.hpp"
#include "backend/host/mesh.hpp"
#include "backend/host/monitor.hpp"
#include "backend/host/shared_memory.hpp"

namespace cohort::host {

struct Domain::State {
  Mesh mesh;
  std::shared_ptr<SharedMapping> control;
  std::shared_ptr<Monitor> monitor;         // none if all ranks are threads of this process
  std::unique_ptr<HealthFile> health_file;  // none unless one is asked for
  std::size_t control_bytes = 0;
  std::uint32_t round = 0;          // exchanges' rounds so far, the same on all ranks
  std::uint32_t generation = 0;     // the newest that this rank has decided
  std::uint32_t attempt = 0;        // the generation of the attempt in progress; 0 if none
  std::uint32_t attempt_round = 0;  // `round` when it began
  std::uint64_t fd_tag = 0;         // descriptor exchanges so far, the same on all ranks
  std::vector<const CallHistory*> histories;

  ControlSegment& segment() const noexcept {
    return *reinterpret_cast<ControlSegment*>(control->data());
  }
  RankBlock& block(WorldRank rank) const noexcept { return segment().blocks()[rank.index()]; }
  RankState rank_state(WorldRank rank) const noexcept {
    return static_cast<RankState>(block(rank).state.load(std::memory_order_seq_cst));
  }
};

inline std::string name_of(WorldRank rank) {
  return "rank " + std::to_string(rank.index());
}

}  // namespace cohort::host
