#include "collectives/operand_rule.hpp"

namespace cohort::collectives {
namespace {

std::optional<std::string> locate_block(const heap::Pools& pools, GroupKind kind, const void* data,
                                        std::size_t bytes, const char* what,
                                        std::optional<heap::HeapOperand>& found) {
  const auto block = pools.locate(data, bytes);
  if (!block) return std::nullopt;
  const std::string group(to_string(kind));
  if (!block->is_live) {
    return std::string(what) + " for group " + group + " lies in pool '" +
           pools.name_of(block->id.pool) + "', in bytes that no live block holds; keep the " +
           "scope that allocated them open until the call";
  }
  std::string name = "a block of " + std::to_string(block->block_bytes) + " bytes";
  if (!block->is_ordinary) {
    name += " at offset " + std::to_string(block->block_offset) + " of pool '" +
            pools.name_of(block->id.pool) + "'";
  }
  if (block->group != kind) {
    return std::string(what) + " lies in " + name + ", which is allocated for group " +
           std::string(to_string(block->group)) + ", not for group " + group +
           " of this call; allocate it in a scope of that group";
  }
  if (block->runs_past_end) return std::string(what) + " runs past the end of " + name;
  if (block->is_ordinary) return std::nullopt;
  found.emplace();
  found->block = block->id;
  found->block_offset = block->block_offset;
  found->offset = block->offset;
  return std::nullopt;
}

}  // namespace

std::optional<std::string> locate_operand(const OperandMemory& memory, GroupKind kind,
                                          const void* data, std::size_t bytes, const char* what,
                                          std::optional<heap::HeapOperand>& found) {
  found.reset();
  if (bytes == 0) return std::nullopt;
  found = memory.view.locate(data, bytes);
  if (!found) {
    if (memory.pools != nullptr) {
      if (auto fault = locate_block(*memory.pools, kind, data, bytes, what, found)) return fault;
      if (found) return std::nullopt;
    }
    if (auto stray = memory.view.find_stray(data)) return std::string(what) + " " + *stray;
    return std::nullopt;
  }
  const PlannedSlot& slot = memory.plan.slots()[found->entry.slot];
  if (!heap::is_planned_for(slot, kind)) {
    return std::string(what) + " lies in slot '" + slot.name +
           "', which is not planned for group " + std::string(to_string(kind)) +
           "; name the group in the slot's declaration";
  }
  if (found->runs_past_end) {
    return std::string(what) + " runs past the end of an entry of slot '" + slot.name + "'";
  }
  return std::nullopt;
}

}  // namespace cohort::collectives
