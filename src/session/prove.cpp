#include <algorithm>
#include <string>

#include <cohort/error.hpp>

#include "session/session_state.hpp"

// The last step of commit before the decision: every slot and pool runs its path once at its
// maximum, so that a wrong offset or mapping shows now, and nothing is lazy afterwards.

namespace cohort {

void SessionState::prove_slots() {
  for (const GroupKind kind : all_group_kinds()) {
    const std::uint32_t bit = 1U << static_cast<unsigned>(kind);
    if ((plan_.group_mask(stage_) & bit) == 0) continue;
    if (!plan_.layout().group_index(kind, domain_->rank())) continue;
    for (std::uint32_t slot = 0; slot < plan_.slots().size(); ++slot) {
      const PlannedSlot& planned = plan_.slots()[slot];
      if (!planned.exists_in(stage_) || (planned.group_mask & bit) == 0) continue;
      for (std::uint32_t entry = 0; entry < planned.entries(); ++entry) {
        prove_entry(kind, {slot, entry});
      }
    }
    for (std::uint32_t pool = 0; pool < plan_.pools().size(); ++pool) {
      if ((plan_.pools()[pool].group_mask & bit) != 0) prove_pool(kind, pool);
    }
  }
  scopes_->pools.clear_history();
  scopes_->pools.clear_use();
  executor_->clear_ledger();
}

void SessionState::prove_entry(GroupKind kind, heap::EntryId id) {
  const PlannedSlot& slot = plan_.slots()[id.slot];
  executor_->settle(id);
  prove_operand(kind, view_->address_of(id),
                slot.spec.rows_max * slot.spec.row_elements * bytes_of(slot.spec.dtype),
                (id.slot << 20U) ^ (id.entry << 12U),
                "slot '" + slot.name + "' entry " + std::to_string(id.entry));
}

/// As one block over the whole budget; where it would have to be staged, as the largest block.
void SessionState::prove_pool(GroupKind kind, std::uint32_t pool) {
  const PlannedPool& planned = plan_.pools()[pool];
  if (planned.bytes == 0) return;
  const std::size_t bytes = layout_.slots_in_arena
                                ? planned.bytes
                                : std::min(planned.bytes, planned.block_bytes_max(kind));
  heap::Pools& pools = scopes_->pools;
  const heap::Pools::ScopeNumber scope = pools.open_scope();
  const heap::BlockId block = pools.allocate_any(kind, bytes, scope).value();
  executor_->settle(block);
  prove_operand(kind, pools.block(block).data, bytes, ~(pool << 20U),
                "pool '" + planned.name + "'");
  pools.close_scope(scope);
}

// One member's whole operand travels to all others, filled with words that tell which it is and
// where they stand in it: a wrong offset or a wrong mapping cannot deliver them.
void SessionState::prove_operand(GroupKind kind, void* memory, std::size_t bytes,
                                 std::uint32_t number, const std::string& what) {
  const Group members = group(kind);
  const GroupRank root{((number >> 20U) + (number >> 12U & 0xFFU)) % members.size()};
  const std::uint64_t stamp = std::uint64_t{number ^ generation_} * 0x9E37'79B9'7F4A'7C15U;
  // Until then the others show something else, whatever the memory held before.
  memory_->write_stamps(memory, bytes, members.rank() == root ? stamp : ~stamp);
  const Tensor all{memory, bytes, DType::u8};
  collectives::Call call;
  call.op = Op::broadcast;
  call.dtype = DType::u8;
  call.root = root;
  call.input = all;
  call.output = all;
  call.stream = memory_->own_stream();
  call.on_own_paths = host_words_ != nullptr;  // NCCL's have been warmed
  static_cast<void>(executor_->run(kind, call));
  if (host_words_) executor_->wait(call.stream);
  if (!memory_->has_stamps(memory, bytes, stamp)) {
    // To all at once: the others may be waiting for this rank in the next broadcast.
    domain_->fail(Error(ErrorCode::system,
                        what + " does not show what rank " +
                            std::to_string(members.to_world(root).index()) + " wrote into it",
                        members.to_world(root), "commit"));
  }
}

}  // namespace cohort
