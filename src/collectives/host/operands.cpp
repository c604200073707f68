// Where the operands of a call lie: in planned entries, in blocks of scopes, or elsewhere.

#include <string>

#include <cohort/error.hpp>

#include "collectives/call_check.hpp"
#include "collectives/host/host_executor.hpp"
#include "collectives/host/operand_bytes.hpp"
#include "collectives/operand_rule.hpp"

namespace cohort::host {

using collectives::Call;
using collectives::Place;

bool HostExecutor::locate_quickly(GroupKind kind, const void* data, std::size_t bytes,
                                  std::optional<heap::HeapOperand>& found) const noexcept {
  if (bytes == 0) return true;
  if (!view_.locate(data, bytes, found.emplace())) {
    found.reset();
    return pools_ == nullptr;
  }
  const PlannedSlot& slot = plan_->slots()[found->entry.slot];
  return heap::is_planned_for(slot, kind) && !found->runs_past_end;
}

std::optional<std::string> HostExecutor::locate(const Channel& channel, const void* data,
                                                std::size_t bytes, const char* what,
                                                std::optional<heap::HeapOperand>& found) const {
  const GroupKind kind = channel.identity().kind;
  if (locate_quickly(kind, data, bytes, found)) return std::nullopt;
  return collectives::locate_operand({*plan_, view_, pools_}, kind, data, bytes, what, found);
}

// Which blocks lie outside the arena follows from the calls of scopes alone, so all ranks see the
// same here; the addresses of other memory say nothing about the path. Nor do blocks in a message,
// whose two members pass different ones.
Reason HostExecutor::operand_reason(const Call& call) const noexcept {
  if (pools_ == nullptr || !pools_->has_ordinary() || collectives::is_message(call.op)) {
    return Reason::ok;
  }
  const Reason input = pools_->reason_at(call.input.data);
  const Reason output = pools_->reason_at(call.output.data);
  return input == Reason::over_budget || output == Reason::ok ? input : output;
}

Reason HostExecutor::staged_reason(const void* data) const noexcept {
  const Reason reason = pools_ == nullptr ? Reason::ok : pools_->reason_at(data);
  return reason == Reason::ok ? Reason::operand_not_in_heap : reason;
}

Place HostExecutor::place_of(const heap::HeapOperand& operand) const noexcept {
  if (!operand.block.exists()) return Place::in_heap(operand.entry);
  return Place::in_block(
      operand.block.pool,
      static_cast<std::uint32_t>(operand.block_offset / heap::BlockAllocator::kUnitBytes));
}

void HostExecutor::note_use(const heap::HeapOperand& operand, std::size_t reader,
                            std::uint64_t sequence) {
  if (operand.block.exists()) {
    pools_->note_use(operand.block, reader, sequence);
  } else {
    rings_->note_use(operand.entry, reader, sequence);
  }
}

std::optional<std::string> HostExecutor::prepare(const Channel& channel, const Call& call,
                                                 Path path, Operands& operands) const {
  if (auto fault = collectives::find_fault(call, channel.size(), channel.self())) return fault;
  if (auto fault = locate(channel, call.input.data, input_bytes(call), "input", operands.input)) {
    return fault;
  }
  if (call.output.data == call.input.data && output_bytes(call) <= input_bytes(call)) {
    operands.output = operands.input;
  } else if (auto fault =
                 locate(channel, call.output.data, output_bytes(call), "output", operands.output)) {
    return fault;
  }
  const bool stages_input =
      path == Path::host_staged || (path == Path::host_direct && !operands.input);
  const std::size_t staged_bytes = peers_read_input(call, channel.self()) ? input_bytes(call) : 0;
  const std::size_t staging_bytes = collectives::is_message(call.op)
                                        ? channel.region().messages.staging_entry_bytes
                                        : channel.region().staging_entry_bytes;
  if (stages_input && staged_bytes > staging_bytes) {
    return "the operand of " + std::to_string(staged_bytes) +
           " bytes lies outside the arena and is larger than the largest one planned for this "
           "group, " +
           std::to_string(staging_bytes) + " bytes";
  }
  return std::nullopt;
}

void HostExecutor::wait(void* /*stream*/) {
  throw Error(ErrorCode::usage, "calls on host memory take no stream", std::nullopt, "wait");
}

}  // namespace cohort::host
