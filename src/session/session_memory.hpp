#pragma once

// The kind of memory under a session, and what depends on it: where arenas come from, who runs the
// calls, and how the host itself looks at what lies there.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <cohort/plan.hpp>
#include <cohort/session.hpp>

#include "backend/backend.hpp"
#include "backend/host/domain.hpp"
#include "collectives/executor.hpp"
#include "heap/arena_layout.hpp"
#include "heap/pools.hpp"
#include "heap/slot_rings.hpp"

namespace cohort {

/// What an executor is made over.
struct ExecutorParts {
  Arena& arena;
  Arena* host_words;  ///< of plans in GPU memory
  const Plan& plan;
  const heap::ArenaLayout& layout;
  std::byte* slots;
  heap::SlotRings& rings;
  heap::Pools& pools;
  const std::vector<std::uint32_t>& nodes;
  std::uint32_t generation = 1;
  std::uint64_t first_sequence = 0;
  std::size_t kept_bytes = 0;                       ///< of the arena, which serves on
  const collectives::Executor* previous = nullptr;  ///< that it serves on from
  bool crowded = false;
};

class SessionMemory {
 public:
  virtual ~SessionMemory() = default;

  /// Agrees with the other ranks on what calls depend on. Collective over the domain.
  virtual void agree(const Plan& plan, host::Domain::TimePoint deadline) = 0;
  virtual Backend& backend() = 0;
  /// The table in force for sessions of this plan, once ranks have agreed.
  virtual const PathTable& table_of(const Plan& plan) const { return plan.options().path_table; }
  virtual std::unique_ptr<collectives::Executor> make_executor(const ExecutorParts& parts) = 0;
  /// From the first executor on until the session ends.
  virtual void start(Arena& arena) = 0;
  virtual void stop() noexcept = 0;

  /// Connects what the plan asks for of NCCL and shows it the arena, then puts every kind of call
  /// through it once. Collective over the domain; all get the same answer of `refusal`.
  virtual void connect_nccl(const Plan& /*plan*/, const heap::ArenaLayout& /*layout*/,
                            const Arena& /*arena*/, host::Domain::TimePoint /*deadline*/) {}
  /// Why the plan cannot have what it asks for of NCCL, or empty.
  virtual std::string nccl_refusal() const { return {}; }
  /// Shows NCCL what has been added to the arena, in an attempt of the domain. Collective.
  virtual void extend_nccl(const Arena& /*arena*/, host::Domain::TimePoint /*deadline*/) {}
  /// Takes it back: of the arena its first `bytes` will be left. Local.
  virtual void shrink_nccl(const Arena& /*arena*/, std::size_t /*bytes*/) noexcept {}
  /// Ends what was connected, all ranks together. Collective.
  virtual void close_nccl(host::Domain::TimePoint /*deadline*/) {}
  /// Ends it whatever peers do: kernels that wait for them in vain. Local.
  virtual void abandon_nccl() noexcept {}

  /// Where the session itself puts calls, so that they wait for nobody else's work.
  virtual void* own_stream() const noexcept { return nullptr; }

  /// The graph that `stream` is being captured into owns `held` from now on, and calls `release` on
  /// it once, on any thread. Throws: Error{usage} if there is none; nobody calls `release` then.
  virtual void give_to_graph(void* stream, void (*release)(void* held), void* held) = 0;

  /// Writes a pattern into own memory: `stamp + i` as the i-th 8 bytes, as much of the last of them
  /// as there is. `memory` is aligned to them.
  virtual void write_stamps(void* memory, std::size_t bytes, std::uint64_t stamp) const = 0;
  /// Whether any rank's memory shows that.
  virtual bool has_stamps(const void* memory, std::size_t bytes, std::uint64_t stamp) const = 0;
};

/// Throws: Error{usage} for a device that does not exist, Error{unsupported, cuda} without GPUs.
std::unique_ptr<SessionMemory> make_session_memory(host::Domain& domain, Memory memory,
                                                   const CommitOptions& options);

}  // namespace cohort
