// Calls that go to NCCL, as the executor makes them.

#include <algorithm>
#include <array>
#include <optional>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "collectives/cuda/cuda_executor.hpp"
#include "collectives/host/operand_bytes.hpp"

namespace cohort::cuda {

using collectives::Call;
using host::input_bytes;
using host::output_bytes;

namespace {

Address address(const void* memory) noexcept {
  return OpenDevice::host(memory);
}

bool has_symmetric_kernels(Op op) noexcept {
  return op == Op::all_reduce || op == Op::all_gather || op == Op::reduce_scatter;
}

/// nccl::Call::count.
std::uint64_t nccl_count(const Call& call, std::uint32_t size) noexcept {
  switch (call.op) {
    case Op::reduce_scatter:
    case Op::broadcast: return call.output.elements;
    case Op::all_to_all: return call.input.elements / size;
    default: return call.input.elements;
  }
}

constexpr std::uint64_t kNcclWord = 4;  // nccl::PathQuery::aligned

/// Of one member, or of all of an all_reduce.
std::uint64_t part_bytes(const Call& call, std::uint32_t size) noexcept {
  return nccl_count(call, size) * bytes_of(call.dtype);
}

}  // namespace

NcclRoute CudaExecutor::nccl_route_of(const Channel& channel, const Call& call, Path wanted) const {
  nccl::PathQuery query;
  query.op = call.op;
  query.reduce_op = call.reduce_op;
  query.dtype = call.dtype;
  query.bytes = std::max(input_bytes(call), output_bytes(call));
  query.members = size_of(channel);
  const NcclGroups* const groups = nccl_->groups();
  const auto lies_in = [&](const void* data, std::size_t bytes) {
    return groups != nullptr && groups->is_in_window(address(data), bytes);
  };
  query.input_in_window = lies_in(call.input.data, input_bytes(call));
  query.output_in_window = lies_in(call.output.data, output_bytes(call));
  query.whole_parts = part_bytes(call, size_of(channel)) % kNcclWord == 0;
  query.aligned = (address(call.input.data) | address(call.output.data)) % kNcclWord == 0;
  const collectives::ChannelIdentity& identity = channel.identity;
  return nccl_->route(nccl_->find(identity.kind, identity.instance, identity.lane), wanted, query);
}

/// Of calls whose counts lie on the device there is one kernel.
PathChoice CudaExecutor::counted_choice(std::uint32_t size) const noexcept {
  if (size == 1) return {Path::local, Reason::group_size_one};
  const auto pin = table_.pin();
  const bool fits = !pin || *pin == Path::gpu_lamport;
  return {Path::gpu_lamport, fits ? Reason::ok : Reason::op_unsupported};
}

CudaExecutor::Choice CudaExecutor::choice_of(const Channel& channel, const Call& call) const {
  const std::uint32_t size = size_of(channel);
  if (call.device_counts != nullptr) return {counted_choice(size)};
  const PathTable& table = call.on_own_paths ? own_table_ : table_;
  const PathChoice chosen =
      own_choice(table, size, call.op, call.dtype, collectives::agreed_bytes(call));
  if (!is_on_nccl(chosen.path) || chosen.reason != Reason::ok) return {chosen};
  const NcclRoute route = nccl_route_of(channel, call, chosen.path);
  if (route.reason == Reason::ok) return {{route.path, Reason::ok}, false, route.by_operands};
  const Path own =
      own_choice(own_table_, size, call.op, call.dtype, collectives::agreed_bytes(call)).path;
  return {{own, route.reason}, true, route.by_operands};
}

/// Sums stand for all reductions.
PathChoice CudaExecutor::settled(GroupKind kind, Op op, DType dtype, std::size_t bytes,
                                 PathChoice choice) const {
  const auto first = channel_index_.first_of(kind);
  if (!is_on_nccl(choice.path) || nccl_ == nullptr || !first) return choice;
  const Channel& channel = *channels_[*first];
  nccl::PathQuery query;
  query.op = op;
  query.dtype = dtype;
  query.members = size_of(channel);
  query.bytes = op == Op::all_gather ? bytes * query.members : bytes;
  query.whole_parts = (op == Op::reduce_scatter ? bytes / query.members : bytes) % kNcclWord == 0;
  query.input_in_window = true;
  query.output_in_window = true;
  const collectives::ChannelIdentity& identity = channel.identity;
  const auto group = nccl_->find(identity.kind, identity.instance, identity.lane);
  const NcclRoute route = nccl_->route(group, choice.path, query);
  if (route.reason == Reason::ok) return {route.path, Reason::ok};
  return {own_choice(own_table_, query.members, op, dtype, bytes).path, route.reason};
}

/// NCCL chooses by what each rank's own operands are, without asking the others, and its symmetric
/// kernels take a peer's operand to lie where their own does.
std::uint64_t CudaExecutor::hash_of(const Channel& channel, const Call& call, Path path) const {
  const std::uint64_t hash = collectives::call_hash(channel.identity, call, path);
  if (!is_on_nccl(path) || !has_symmetric_kernels(call.op)) return hash;
  const NcclGroups& groups = *nccl_->groups();
  const Address arena = address(rank_.arena.local());
  const bool input_is_in = groups.is_in_window(address(call.input.data), input_bytes(call));
  const bool output_is_in = groups.is_in_window(address(call.output.data), output_bytes(call));
  const bool symmetric = path == Path::nccl_symmetric;
  const bool of_input = symmetric && call.op != Op::all_gather;
  const bool of_output = symmetric && call.op != Op::reduce_scatter;
  const std::array<std::uint64_t, 4> words = {hash,
                                              (input_is_in ? 1U : 0U) | (output_is_in ? 2U : 0U),
                                              of_input ? address(call.input.data) - arena : 0,
                                              of_output ? address(call.output.data) - arena : 0};
  return XXH3_64bits(words.data(), sizeof(words));
}

void CudaExecutor::run_on_nccl(const Channel& channel, const Call& call, bool captured) {
  if (output_bytes(call) == 0) return;
  const collectives::ChannelIdentity& identity = channel.identity;
  nccl::Call wanted{};
  wanted.op = call.op;
  wanted.reduce_op = call.reduce_op;
  wanted.dtype = call.dtype;
  wanted.root = call.op == Op::broadcast ? call.root.index() : 0;
  wanted.count = nccl_count(call, size_of(channel));
  wanted.input = address(call.input.data);
  wanted.output = address(call.output.data);
  wanted.stream = call.stream;
  nccl_->groups()->run(*nccl_->find(identity.kind, identity.instance, identity.lane), wanted,
                       captured);
}

/// What two calls differ in that read alike.
std::string CudaExecutor::misplaced(const Channel& channel, const FaultRecord& record) const {
  const auto mine = channel.notes[channel.self]->noted(record.own_hash).load_of(record.own_hash);
  if (describe(channel, record.own_hash, channel.self) !=
      describe(channel, record.their_hash, record.member)) {
    return {};
  }
  if (record.own_hash != record.their_hash && static_cast<std::uint32_t>(record.own_hash) ==
                                                  static_cast<std::uint32_t>(record.their_hash)) {
    return ", with other counts";
  }
  if (!mine || !is_on_nccl(mine->path)) return {};
  return ", with operands at other places of the arena or outside of it";
}

}  // namespace cohort::cuda
