#pragma once

// Which memory may be an operand of a group's call: pure.

#include <cstddef>
#include <optional>
#include <string>

#include <cohort/layout.hpp>
#include <cohort/plan.hpp>

#include "heap/heap_view.hpp"
#include "heap/pools.hpp"

namespace cohort::collectives {

/// What is known of a rank's memory.
struct OperandMemory {
  const Plan& plan;
  const heap::HeapView& view;
  const heap::Pools* pools;  ///< null if blocks are no operands
};

/// Why memory in the arena must not be an operand of a call on `kind`, or nothing. Sets `found` for
/// what lies in an entry or a block; memory outside the arena leaves it empty and is fine.
std::optional<std::string> locate_operand(const OperandMemory& memory, GroupKind kind,
                                          const void* data, std::size_t bytes, const char* what,
                                          std::optional<heap::HeapOperand>& found);

}  // namespace cohort::collectives
