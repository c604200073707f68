#include <algorithm>
#include <span>
#include <string>
#include <vector>

#include <cohort/error.hpp>

#include "session/session_state.hpp"

// The last step of commit before the decision: every slot and pool runs its path once at its
// maximum, so that a wrong offset or mapping shows now, and nothing is lazy afterwards.

namespace cohort {
namespace {

/// What one look at the arena takes of host memory, at most.
constexpr std::size_t kPieceWords = std::size_t{1} << 18U;

/// Calls `use(piece, first)` for pieces of `words` words, each in host memory.
template <typename Use>
void for_each_piece(std::size_t words, const Use& use) {
  std::vector<std::uint32_t> memory(std::min(words, kPieceWords));
  for (std::size_t first = 0; first < words; first += kPieceWords) {
    use(std::span(memory).first(std::min(kPieceWords, words - first)), first);
  }
}

}  // namespace

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
  const std::uint32_t stamp = number ^ generation_;
  const auto expected = [stamp](std::size_t i) {
    return stamp ^ static_cast<std::uint32_t>(i * 2654435761U);
  };
  const bool is_root = members.rank() == root;
  // The last word may reach into the operand's padding: that part is written, but does not travel.
  const std::size_t words = (bytes + 3) / 4;
  const std::uint32_t last_mask = ~std::uint32_t{0} >> (words * 4 - bytes) * 8;
  for_each_piece(words, [&](std::span<std::uint32_t> piece, std::size_t first) {
    for (std::size_t i = 0; i < piece.size(); ++i) piece[i] = is_root ? expected(first + i) : 0;
    memory_->write(static_cast<std::uint32_t*>(memory) + first, piece.data(), piece.size_bytes());
  });
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
  bool shows = true;
  for_each_piece(words, [&](std::span<std::uint32_t> piece, std::size_t first) {
    memory_->read(piece.data(), static_cast<std::uint32_t*>(memory) + first, piece.size_bytes());
    for (std::size_t i = 0; i < piece.size(); ++i) {
      const std::uint32_t difference = piece[i] ^ expected(first + i);
      const bool last = first + i + 1 == words;
      shows = shows && (last ? difference & last_mask : difference) == 0;
    }
  });
  if (!shows) {
    // To all at once: the others may be waiting for this rank in the next broadcast.
    domain_->fail(Error(ErrorCode::system,
                        what + " does not show what rank " +
                            std::to_string(members.to_world(root).index()) + " wrote into it",
                        members.to_world(root), "commit"));
  }
}

}  // namespace cohort
