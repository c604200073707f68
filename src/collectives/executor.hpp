#pragma once

// What runs collectives over a backend's memory. One object per rank and generation. A backend
// joins by implementing this and `Arena`; tests/contract then runs over it.

#include <span>
#include <string>
#include <vector>

#include <cohort/layout.hpp>
#include <cohort/ledger.hpp>
#include <cohort/local_move.hpp>
#include <cohort/verdict.hpp>

#include "backend/backend.hpp"
#include "collectives/call.hpp"
#include "heap/pools.hpp"
#include "heap/slot_rings.hpp"

namespace cohort::collectives {

class Executor {
 public:
  virtual ~Executor() = default;

  /// Resolves what lies in peers' arenas, once they are mapped and before the first call.
  virtual void attach() = 0;
  /// What becomes of a call for which the table says `choice`, with operands in the arena and of
  /// `bytes` as members agree on them. Local.
  virtual PathChoice settled(GroupKind /*kind*/, Op /*op*/, DType /*dtype*/, std::size_t /*bytes*/,
                             PathChoice choice) const {
    return choice;
  }
  /// Runs one call. Collective over this rank's group of `kind`.
  virtual Verdict run(GroupKind kind, const Call& call) = 0;
  /// Copies and zeroes within this rank's memory, in the order of the stream. Local.
  virtual void move(std::span<const LocalMove> moves, void* stream) = 0;
  /// Norms rows of this rank, in the order of the stream. Local.
  virtual void norm(ConstTensor input, const RmsNorm& norm, void* stream) = 0;
  /// Waits until no peer reads this rank's copy of `entry` any more: it may then be written.
  virtual void settle(heap::EntryId entry) = 0;
  /// The same for the bytes of a block that has just been allocated.
  virtual void settle(heap::BlockId block) = 0;
  /// Between calls, while all ranks wait for each other: throws unless they have all made the same
  /// calls and nothing is under way, which settles every pending use of an entry.
  /// Throws: Error{mismatch} naming a member that has made another number of calls, Error{usage}
  /// for a message that nobody has received, and the error of a message that was refused.
  virtual void check_idle() = 0;
  /// What became of messages that this rank sent and does not know of: not received, or refused.
  /// Once all ranks have made their last call.
  virtual std::vector<std::string> lost_messages() = 0;
  /// Returns once everything in the stream has ended. Throws: the job's fault, Error{timeout}, and
  /// Error{usage} where calls take no stream.
  virtual void wait(void* stream) = 0;
  /// Waits until nothing that this rank began touches its arena any more; false if that lasts past
  /// `deadline`.
  virtual bool quiesce(Arena::TimePoint deadline) noexcept = 0;
  /// Goes on with the counts of the executor whose generation this one replaces.
  virtual void inherit_ledger(const Executor& previous) = 0;
  virtual void append_ledger(std::vector<LedgerRow>& rows) const = 0;
  virtual void clear_ledger() = 0;
};

}  // namespace cohort::collectives
