// Calls. What faults mean is in cuda_faults.cpp, books and the states of channels in
// cuda_books.cpp, calls on NCCL in nccl_launch.cpp.

#include "collectives/cuda/cuda_executor.hpp"

#include <algorithm>
#include <cstring>
#include <thread>

#include <cohort/error.hpp>

#include "collectives/call_check.hpp"
#include "collectives/cuda/device_moves.hpp"
#include "collectives/cuda/device_norm.hpp"
#include "collectives/cuda/fused_plan.hpp"
#include "collectives/host/operand_bytes.hpp"
#include "collectives/operand_rule.hpp"
#include "collectives/path_table.hpp"
#include "collectives/rms_norm.hpp"

namespace cohort::cuda {

using collectives::Call;
using host::input_bytes;
using host::output_bytes;

namespace {

Address address(const void* memory) noexcept {
  return OpenDevice::host(memory);
}

/// The same in every generation, so that a record says what it is about.
std::uint32_t name_of(GroupKind kind, Lane lane) noexcept {
  return static_cast<std::uint32_t>(kind) << 16U | lane.index();
}

/// KernelCall::bytes of the forms with equal parts.
std::uint64_t kernel_bytes(const Call& call, std::uint32_t size) noexcept {
  switch (call.op) {
    case Op::all_reduce:
    case Op::all_gather: return input_bytes(call);
    case Op::reduce_scatter:
    case Op::broadcast: return output_bytes(call);
    case Op::all_to_all: return input_bytes(call) / size;
    default: return 0;
  }
}

}  // namespace

CudaExecutor::CudaExecutor(const CudaRank& rank, const Plan& plan, const heap::ArenaLayout& layout,
                           std::byte* slots, const CudaExecutor* previous,
                           const CudaExecutorOptions& options)
    : rank_(rank),
      plan_(std::make_shared<Plan>(plan)),
      view_(plan, layout, plan.layout().pipeline_stage(rank.domain.rank()), slots),
      regions_(layout.channels),
      pools_(options.pools),
      table_(options.table),
      own_table_(options.own_table),
      limits_(options.limits),
      crowded_(options.crowded),
      nccl_(options.nccl),
      generation_(options.generation),
      is_first_(previous == nullptr),
      channel_index_(plan.options().lanes) {
  limits_.table = &table_;
  if (previous == nullptr) {
    rank_.device.fill(address(rank.arena.local()), 0, sizeof(SessionWords));
  }
  const std::uint32_t stage = plan.layout().pipeline_stage(rank.domain.rank());
  for (const heap::ChannelRegion& region : layout.channels) {
    if (heap::is_held_by(region.section, stage)) open(region, previous, options);
  }
}

CudaExecutor::~CudaExecutor() {
  rank_.watch.forget_reader(this);
}

void CudaExecutor::open(const heap::ChannelRegion& region, const CudaExecutor* previous,
                        const CudaExecutorOptions& options) {
  const WorldRank self = rank_.domain.rank();
  const auto instance = plan_->layout().group_index(region.kind, self);
  if (!instance) return;  // a rank that is no leader has no such group
  channel_index_.add(region.kind, channels_.size());
  auto channel = std::make_unique<Channel>();
  channel->region = region;
  channel->identity = {region.kind, *instance, region.lane, options.generation};
  channel->ranks = plan_->layout().group_of(region.kind, self);
  channel->self = static_cast<std::uint32_t>(
      std::find(channel->ranks.begin(), channel->ranks.end(), self) - channel->ranks.begin());
  const std::size_t size = channel->ranks.size();
  counts_.resize(std::max(counts_.size(), size * size));
  window_counts_.resize(std::max(window_counts_.size(), size));
  KernelCall& base = channel->base;
  base.members.count = static_cast<std::uint32_t>(size);
  base.members.self = channel->self;
  for (std::size_t i = 0; i < size; ++i) {
    base.members.ranks[i] = static_cast<std::uint8_t>(channel->ranks[i].index());
  }
  base.map = heap::device_map(region);
  base.channel = name_of(region.kind, region.lane);
  base.deadline_ns =
      static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                     rank_.domain.deadline_after(rank_.domain.limits().steady) -
                                     rank_.domain.deadline_after(std::chrono::milliseconds(0)))
                                     .count());
  base.fault = rank_.watch.record_address();
  const Channel* const old = previous == nullptr ? nullptr : previous->find(base.channel);
  if (old != nullptr) channel->retired_notes = old->retired_notes;
  if (region.sync_offset >= options.kept_bytes) {
    initialise(*channel, options.first_sequence);
    channel->launched = options.first_sequence;
    if (old != nullptr) channel->retired_notes.push_back(old->notes[old->self]);
  } else if (old != nullptr) {
    // Graphs that were captured on it stay valid.
    channel->identity.generation = old->identity.generation;
    channel->launched = old->launched;
    channel->refusals_told = old->refusals_told;
  }
  base.generation = channel->identity.generation;
  channel->refusals_told.resize(size);
  channel->calls_begun = &rank_.domain.call_word(region.kind, region.lane);
  channels_.push_back(std::move(channel));
}

void CudaExecutor::attach() {
  const Address first = address(rank_.arena.of(WorldRank{0}));
  const std::uint64_t stride = rank_.domain.rank_count() > 1
                                   ? address(rank_.arena.of(WorldRank{1})) - first
                                   : rank_.arena.bytes();
  for (const auto& channel : channels_) {
    channel->base.members.arenas = first;
    channel->base.members.stride = stride;
    channel->notes.clear();
    for (const WorldRank member : channel->ranks) {
      channel->notes.push_back(reinterpret_cast<ChannelNotes*>(rank_.host_words.of(member) +
                                                               channel->region.notes_offset));
    }
  }
  if (is_first_) rank_.watch.set_reader(this);
}

Verdict CudaExecutor::run(GroupKind kind, const Call& call) {
  Channel& channel = *channels_[channel_index_.at(kind, call.lane)];
  check(to_string(call.op));
  if (MadeCall* const made = find_made(channel, call)) {
    return launch_again(channel, *made, call.stream);
  }
  if (collectives::is_message(call.op)) {
    throw Error(ErrorCode::unsupported, "there is no send and recv on memory cuda", std::nullopt,
                std::string(to_string(call.op)));
  }
  const Choice choice = choice_of(channel, call);
  throw_if_strict_forbids(channel, call, choice);
  if (auto fault = collectives::find_fault(call, size_of(channel), channel.self)) {
    refuse(channel, call, *fault);
  }
  const KernelCall kernel = kernel_of(channel, call);
  if (auto fault = find_fault(channel, call, kernel)) refuse(channel, call, *fault);
  if (choice.taken.path == Path::local) {
    run_local(channel, call);
    if (call.norm != nullptr) {
      norm_on_device(rank_.device, *call.norm, call.output.data, call.stream);
    }
  } else {
    const bool captured = is_captured(call.stream);
    launch(channel, call, kernel, choice, captured);
    // What is thrown out of a capture would leave a graph that nobody expects.
    if (!captured) throw_refusal(channel, to_string(call.op));
  }
  return {choice.taken.path, choice.taken.reason, 0};
}

PathChoice CudaExecutor::own_choice(const PathTable& table, std::uint32_t size, Op op, DType dtype,
                                    std::size_t bytes) const noexcept {
  collectives::PathInputs inputs;
  inputs.group_size = size;
  inputs.op = op;
  inputs.bytes = bytes;
  inputs.dtype = dtype;
  inputs.crowded = crowded_;
  inputs.memory = Memory::cuda;
  return collectives::choose_path(table, inputs);
}

/// What is agreed on by all members is thrown at once, so nobody is left waiting.
void CudaExecutor::throw_if_strict_forbids(Channel& channel, const Call& call, Choice choice) {
  const Reason reason = choice.taken.reason;
  const bool allowed = reason == Reason::ok || reason == Reason::group_size_one ||
                       reason == Reason::dtype_unsupported;  // refused later
  if (!plan_->options().strict || allowed || call.on_own_paths) return;
  const std::string why = "would take path " + std::string(to_string(choice.taken.path)) +
                          " with reason " + std::string(to_string(reason)) + ": " +
                          std::string(explain(reason));
  if (choice.by_operands) refuse(channel, call, "strict: it " + why);
  throw Error(ErrorCode::strict_miss,
              "strict: " + std::string(to_string(call.op)) + " on " +
                  collectives::describe(channel.identity.kind, channel.ranks) + " " + why,
              std::nullopt, std::string(to_string(call.op)));
}

std::optional<std::string> CudaExecutor::find_fault(const Channel& channel, const Call& call,
                                                    const KernelCall& kernel) const {
  const collectives::OperandMemory memory{*plan_, view_, pools_};
  const GroupKind kind = channel.identity.kind;
  std::optional<heap::HeapOperand> found;
  if (auto fault = collectives::locate_operand(memory, kind, call.input.data, input_bytes(call),
                                               "input", found)) {
    return fault;
  }
  if (auto fault = collectives::locate_operand(memory, kind, call.output.data, output_bytes(call),
                                               "output", found)) {
    return fault;
  }
  if (call.norm != nullptr) {
    if (auto fault = find_device_fault(*call.norm, call.input)) return fault;
    if (auto fault = find_device_fault(*call.norm, call.output)) return fault;
  }
  if (call.device_counts != nullptr && address(call.device_counts) % sizeof(std::uint64_t) != 0) {
    return "counts on the device are not aligned to 8 bytes";
  }
  if (size_of(channel) == 1 || kernel.device_counts != 0 || can_be_launched(kernel)) {
    return std::nullopt;
  }
  return "the parts for one member are larger than the largest operand planned for this group, " +
         std::to_string(channel.region.staging_entry_bytes) + " bytes";
}

/// The call as a whole, not yet made launches. Requires: it makes sense.
KernelCall CudaExecutor::kernel_of(const Channel& channel, const Call& call) {
  KernelCall kernel = channel.base;
  kernel.op = call.op;
  kernel.reduce_op = collectives::is_reduction(call.op) ? call.reduce_op : ReduceOp::sum;
  kernel.dtype = call.dtype;
  kernel.algorithm = Algorithm::once;
  kernel.root = call.op == Op::broadcast ? call.root.index() : 0;
  kernel.bytes = kernel_bytes(call, size_of(channel));
  if (collectives::has_counts(call.op)) {
    const std::size_t element = bytes_of(call.dtype);
    for (std::size_t i = 0; i < call.counts.size(); ++i) counts_[i] = call.counts[i] * element;
    kernel.counts = counts_.data();
  }
  kernel.device_counts = address(call.device_counts);
  kernel.input = address(call.input.data);
  kernel.output = address(call.output.data);
  kernel.stream = call.stream;
  return kernel;
}

void CudaExecutor::launch(Channel& channel, const Call& call, const KernelCall& whole,
                          Choice choice, bool captured) {
  const Path path = choice.taken.path;
  const std::uint64_t hash = hash_of(channel, call, path);
  collectives::CallRecord record =
      collectives::record_of(call, path, 0, {}, channel.identity.generation);
  announce(channel, record, captured ? Made::captured : Made::launched);
  const bool can_keep = can_be_kept(call) && !is_on_nccl(path) && channel.kept.recurs(call);
  std::uint64_t number = 0;
  const auto put = [&](KernelCall& kernel, FunctionRef<void()> enqueue) {
    kernel.hash = launch_hash(hash, kernel, number);
    if (number == 0) {
      kernel.tally = address(rank_.arena.local()) +
                     heap::device_tally_offset(channel.region, collectives::named_op(call),
                                               heap::tally_index(choice.taken, choice.missed));
      kernel.tally_bytes = call.op == Op::barrier ? 0 : input_bytes(call);
    }
    // Before a peer can meet the hash.
    record.sequence = kernel.hash;
    channel.notes[channel.self]->noted(kernel.hash).store(record);
    if (!captured) ++channel.launched;
    try {
      enqueue();
    } catch (const Error& error) {
      rank_.domain.fail(error);  // peers that have launched it wait in vain
    }
    if (can_keep && number == 0 && is_whole(kernel, call)) {
      channel.kept.keep({call, kernel, record, choice.taken, pools_changed()});
    } else if (can_keep) {
      channel.kept.forget(call);
    }
    ++number;
  };
  const auto put_all = [&](const KernelCall& kernels, Path on) {
    for_each_launch(kernels, on, limits_, window_counts_,
                    [&](KernelCall& kernel) { put(kernel, [&] { rank_.device.launch(kernel); }); });
  };
  std::optional<FusedPlan> fused;
  if (call.norm != nullptr && !is_on_nccl(path)) {
    const auto hidden = static_cast<std::uint32_t>(call.norm->weight.elements);
    fused = plan_fused(whole, path, hidden, limits_);
  }
  if (fused) {
    put(fused->call, [&] {
      rank_.device.launch_fused({fused->call, device_norm(*call.norm), fused->blocks_per_row});
    });
    return;
  }
  if (is_on_nccl(path)) {
    put_all(header_step(whole), Path::gpu_ll);
    run_on_nccl(channel, call, captured);
  } else if (whole.device_counts != 0) {
    for_each_counted_launch(whole, limits_, [&](KernelCall& kernel) {
      put(kernel, [&] { rank_.device.launch(kernel); });
    });
  } else {
    put_all(whole, path);
  }
  if (call.norm != nullptr) {
    norm_on_device(rank_.device, *call.norm, call.output.data, call.stream);
  }
}

/// First of all: a member that refuses this call must not wait for one that a full stream holds up.
void CudaExecutor::announce(Channel& channel, const collectives::CallRecord& record,
                            Made made) noexcept {
  ChannelNotes& notes = *channel.notes[channel.self];
  const std::uint64_t number = notes.made.load(std::memory_order_relaxed) + 1;
  notes.call_of(number).store(record, number, made);
  channel.calls_begun->store(number, std::memory_order_relaxed);
  notes.made.store(number, std::memory_order_seq_cst);
  rank_.domain.wake();
}

bool CudaExecutor::is_captured(void* stream) const {
  return stream != nullptr && rank_.device.is_capturing(stream);
}

void CudaExecutor::move(std::span<const LocalMove> moves, void* stream) {
  rank_.watch.check("move");
  move_on_device(rank_.device, moves, stream);
}

void CudaExecutor::norm(ConstTensor input, const RmsNorm& norm, void* stream) {
  rank_.watch.check("rms_norm");
  collectives::require_norm(norm, input);
  if (const auto fault = find_device_fault(norm, input)) {
    throw Error(ErrorCode::usage, *fault, rank_.domain.rank(), "rms_norm");
  }
  norm_on_device(rank_.device, norm, input.data, stream);
}

void CudaExecutor::run_local(Channel& channel, const Call& call) {
  const std::size_t bytes = output_bytes(call);
  const bool is_float =
      call.dtype == DType::f32 || call.dtype == DType::bf16 || call.dtype == DType::f16;
  if (bytes != 0 && collectives::is_reduction(call.op) && is_float) {
    // The same bits as with peers: NaN is canonical.
    rank_.device.reduce_alone(address(call.output.data), address(call.input.data),
                              call.output.elements, call.dtype, call.stream);
  } else if (bytes != 0 && call.input.data != call.output.data) {
    rank_.device.enqueue_copy(address(call.output.data), address(call.input.data), bytes,
                              call.stream);
  }
  collectives::LedgerEntry& entry =
      channel.ledger.entry(collectives::named_op(call), Path::local, Reason::group_size_one);
  ++entry.calls;
  if (call.op != Op::barrier) entry.bytes += input_bytes(call);
}

}  // namespace cohort::cuda
