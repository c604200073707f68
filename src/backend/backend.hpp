#pragma once

// The memory half of a backend: one arena per rank, mapped by all ranks. What moves and reduces
// data over it is a `collectives::Executor`. A backend is good when tests/contract passes over it.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include <cohort/ids.hpp>

namespace cohort {

/// This rank's arena and its view of every peer's arena: a reserved range of addresses, filled from
/// its start segment by segment. A segment that is there never moves.
class Arena {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  virtual ~Arena() = default;

  /// Bytes of every rank's arena, the same on all: the end of its last segment.
  virtual std::size_t bytes() const noexcept = 0;
  /// Bytes of memory the system really holds for this rank's arena.
  virtual std::size_t measured_bytes() const = 0;
  /// This rank's own arena: valid, zeroed and populated from construction on.
  virtual std::byte* local() const noexcept = 0;
  /// Adds a zeroed and populated segment of `bytes` behind the last one. Local; peers see it after
  /// the next `map_peers`. Throws: Error{out_of_memory, system}; then nothing has changed.
  virtual void extend(std::size_t bytes) = 0;
  /// Gives back the segments behind the first `bytes` bytes, the peers' as well. Local. Requires:
  /// no rank uses them any more.
  virtual void shrink_to(std::size_t bytes) noexcept = 0;
  /// Maps what is not mapped yet of every peer's arena. Collective over the domain; call after
  /// initialising what peers read.
  virtual void map_peers(TimePoint deadline) = 0;
  /// How often this arena has taken or mapped memory so far.
  virtual std::uint64_t registrations() const noexcept = 0;
  /// A rank's arena as seen from this one; valid after `map_peers`.
  virtual std::byte* of(WorldRank rank) const noexcept = 0;
};

/// Allocates arenas of one kind of memory.
class Backend {
 public:
  virtual ~Backend() = default;
  /// Granule to which arenas are rounded.
  virtual std::size_t granule_bytes() const noexcept = 0;
  /// Maps and populates this rank's arena of `bytes`, with addresses reserved for it to grow to
  /// `reserve_bytes`. Local. Throws: Error{out_of_memory, system}.
  virtual std::unique_ptr<Arena> allocate(std::size_t bytes, std::size_t reserve_bytes) = 0;
  /// An arena that never grows.
  std::unique_ptr<Arena> allocate(std::size_t bytes) { return allocate(bytes, bytes); }
};

}  // namespace cohort
