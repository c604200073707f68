#pragma once

// What every backend's collectives must do, as one function that each rank runs. A backend joins by
// calling it from its own test with its own way of starting ranks.

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <cohort/session.hpp>

namespace cohort::contract {

/// How the suite looks at operands: here those of host memory.
class OperandAccess {
 public:
  virtual ~OperandAccess() = default;
  /// Memory outside the arena, for one of two operands; valid until asked for again.
  virtual std::byte* outside(bool second, std::size_t bytes);
  virtual void write(void* to, const void* from, std::size_t bytes);
  virtual void read(void* to, const void* from, std::size_t bytes);
  /// Returns once calls that were made have their results.
  virtual void finish() {}

 private:
  std::array<std::vector<std::byte>, 2> outside_;
};

/// Every operation, element type and reduction on every group of the session's plan: sizes from 0
/// over odd ones to past every path's limit, operands inside the heap, outside and misaligned, in
/// place and out of place, uneven counts with zeros. Outputs are poisoned first; results are
/// compared with float64, and bit for bit with the rank-ordered f32 sum.
/// Collective over all ranks. Throws: std::runtime_error saying what differed.
void check_collectives(Session& session, WorldRank rank, std::uint64_t seed);
/// The same over memory that `access` reaches; calls on GPU memory go into `stream`.
void check_collectives(Session& session, WorldRank rank, std::uint64_t seed, OperandAccess& access,
                       Stream stream);

/// The plan that `check_collectives` expects: slots of every element type for these group kinds.
Plan collective_plan(const Layout& layout, const PlanOptions& options = {});

}  // namespace cohort::contract
