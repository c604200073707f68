#pragma once

// What runs collectives over a backend's memory. One object per rank and generation. A backend
// joins by implementing this and `Arena`; tests/contract then runs over it.

#include <vector>

#include <cohort/layout.hpp>
#include <cohort/ledger.hpp>
#include <cohort/verdict.hpp>

#include "collectives/call.hpp"
#include "heap/slot_rings.hpp"

namespace cohort::collectives {

class Executor {
 public:
  virtual ~Executor() = default;

  /// Runs one call. Collective over this rank's group of `kind`.
  virtual Verdict run(GroupKind kind, const Call& call) = 0;
  /// Waits until no peer reads this rank's copy of `entry` any more: it may then be written.
  virtual void settle(heap::EntryId entry) = 0;
  virtual void append_ledger(std::vector<LedgerRow>& rows) const = 0;
  virtual void clear_ledger() = 0;
};

}  // namespace cohort::collectives
