#pragma once

// Which path a call takes: a pure function of what all members know, so that all choose alike.

#include <cstddef>
#include <cstdint>

#include <cohort/dtype.hpp>
#include <cohort/plan.hpp>
#include <cohort/verdict.hpp>

namespace cohort::collectives {

struct PathInputs {
  std::uint32_t group_size = 1;
  Symmetry symmetry = Symmetry::on;
  Op op = Op::barrier;
  std::size_t bytes = 0;  ///< `agreed_bytes` of the call
  DType dtype = DType::f32;
  Reason operands = Reason::ok;  ///< of blocks outside the arena, alike on all ranks: why
  bool crowded = false;          ///< the host has more ranks than CPUs
  Memory memory = Memory::host;
};

/// Reason `dtype_unsupported`: the call will be refused on every member.
PathChoice choose_path(const PathTable& table, const PathInputs& inputs) noexcept;

}  // namespace cohort::collectives
