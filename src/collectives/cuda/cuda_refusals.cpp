// Calls that this rank refuses, or another member refused.

#include <algorithm>
#include <array>
#include <thread>

#include <cohort/error.hpp>

#include "collectives/cuda/cuda_executor.hpp"
#include "collectives/cuda/fused_plan.hpp"

namespace cohort::cuda {

using collectives::Call;
using collectives::CallRecord;

namespace {

std::string text_of(WorldRank rank) {
  return "rank " + std::to_string(rank.index());
}

/// What a call has to say for its members' kernels, once more: sizes, and no operands.
class Restated {
 public:
  /// `counts` are the call's, or empty.
  Restated(const CallRecord& record, std::uint32_t size, std::uint32_t self, const Call& refused)
      : call_(refused) {
    call_.op = record.op;
    call_.reduce_op = record.reduce_op;
    call_.dtype = record.dtype;
    call_.root = GroupRank{record.op == Op::broadcast ? record.root : 0};
    call_.norm = nullptr;
    call_.device_counts = nullptr;
    if (collectives::is_reduction(record.op) && record.root != 0) {
      norm_.weight.elements = record.root;
      call_.norm = &norm_;
    }
    const std::size_t agreed = record.bytes / bytes_of(record.dtype);
    std::size_t input = agreed;
    std::size_t output = agreed;
    switch (record.op) {
      case Op::all_gather: output = agreed * size; break;
      case Op::reduce_scatter: output = agreed / size; break;
      case Op::all_gatherv:
        input = call_.counts[self];
        output = sum_of(call_.counts);
        break;
      case Op::reduce_scatterv: output = call_.counts[self]; break;
      case Op::barrier: input = output = 0; break;
      default: break;  // of all_to_allv the counts say all
    }
    call_.input = {nullptr, input, record.dtype};
    call_.output = {nullptr, output, record.dtype};
  }
  Restated(const Restated&) = delete;
  Restated& operator=(const Restated&) = delete;

  const Call& call() const noexcept { return call_; }

 private:
  static std::size_t sum_of(std::span<const std::size_t> counts) noexcept {
    std::size_t sum = 0;
    for (const std::size_t count : counts) sum += count;
    return sum;
  }

  Call call_;
  RmsNorm norm_;
};

}  // namespace

void CudaExecutor::await_made(const Channel& channel, std::uint32_t member, std::uint64_t call,
                              const Call& what) {
  const std::atomic<std::uint64_t>& made = channel.notes[member]->made;
  rank_.domain.wait_for(
      channel.ranks[member], rank_.domain.limits().steady,
      [&] { return made.load(std::memory_order_seq_cst) >= call; },
      [&] {
        return host::WaitSubject{to_string(what.op),
                                 "refusing " + std::string(to_string(what.op)) + " on " +
                                     collectives::describe(channel.identity.kind, channel.ranks) +
                                     " lane " + std::to_string(channel.identity.lane.index())};
      });
}

/// Members first tell each other whether all of them refuse.
void CudaExecutor::refuse(Channel& channel, const Call& call, const std::string& why) {
  const std::string op(to_string(collectives::named_op(call)));
  const WorldRank self = rank_.domain.rank();
  if (size_of(channel) == 1) throw Error(ErrorCode::usage, op + ": " + why, self, op);
  const std::string mine = text_of(self) + " refused " + op + " on " +
                           collectives::describe(channel.identity.kind, channel.ranks) + ": " + why;
  ChannelNotes& notes = *channel.notes[channel.self];
  const std::uint64_t number = notes.made.load(std::memory_order_relaxed) + 1;
  notes.refusals[channel.refused++ % ChannelNotes::kRefusals].store(number, mine);
  announce(channel, collectives::record_of(call, Path::local, 0, {}, channel.identity.generation),
           Made::refused);
  std::optional<std::uint32_t> first_refused;
  std::optional<std::uint32_t> first_made;
  for (std::uint32_t member = 0; member < size_of(channel); ++member) {
    await_made(channel, member, number, call);
    const auto seen = channel.notes[member]->call_of(number).load_of(number);
    const bool refused = seen ? seen->made == Made::refused : member == channel.self;
    std::optional<std::uint32_t>& first = refused ? first_refused : first_made;
    if (!first) first = member;
  }
  if (first_made) {
    const auto made = channel.notes[*first_made]->call_of(number).load_of(number);
    if (const auto obstacle = obstacle_to_standing_in(channel, call, *first_made, made)) {
      rank_.domain.fail(Error(ErrorCode::usage, mine + " (" + *obstacle + ")", self, op));
    }
    if (*first_refused == channel.self) {
      // Before any member's kernel can end.
      const std::uint64_t count = notes.lone_refusals.load(std::memory_order_relaxed);
      notes.lone_numbers[count % ChannelNotes::kRefusals].store(number, std::memory_order_release);
      notes.lone_refusals.store(count + 1, std::memory_order_seq_cst);
    }
    if (made->made == Made::launched) {
      const Restated restated(made->record, size_of(channel), channel.self, call);
      launch_stand_ins(channel, restated.call(), made->record.path);
    }
  }
  const auto theirs = channel.notes[*first_refused]->refusal_of(number);
  throw Error(ErrorCode::usage, theirs.value_or(mine), channel.ranks[*first_refused], op);
}

/// Why this rank cannot take part in a call that it refused and `member` made, if so: that member's
/// kernels then wait in vain.
std::optional<std::string> CudaExecutor::obstacle_to_standing_in(
    const Channel& channel, const Call& refused, std::uint32_t member,
    const std::optional<NumberedCall::Seen>& made) const {
  const std::string whom = text_of(channel.ranks[member]);
  if (!made) return whom + " has made the call, and too many others since";
  const bool captured = is_captured(refused.stream);
  if (captured != (made->made == Made::captured)) {
    return whom + (captured ? " has made the call outside of a graph"
                            : " has captured the call into a graph");
  }
  if (captured) return std::nullopt;  // nothing has been launched
  const CallRecord& record = made->record;
  if (is_on_nccl(record.path)) return whom + " has made the call on NCCL";
  if (record.counts_hash == collectives::kCountsOnDevice) {
    return whom + " has made the call with counts on the device";
  }
  if (collectives::has_counts(record.op)) {
    const CallRecord mine = collectives::record_of(refused, record.path, 0, {});
    if (mine.op != record.op || mine.dtype != record.dtype ||
        mine.counts_hash != record.counts_hash) {
      return whom + " has made the call with other counts";
    }
  }
  return std::nullopt;
}

/// As many kernels as the members launch that make the call, in the same order.
void CudaExecutor::launch_stand_ins(Channel& channel, const Call& call, Path path) {
  const std::uint64_t hash = hash_of(channel, call, path);
  KernelCall whole = kernel_of(channel, call);
  whole.stands_in = true;
  std::uint64_t number = 0;
  const auto put = [&](KernelCall& kernel) {
    kernel.hash = launch_hash(hash, kernel, number++);
    CallRecord record =
        collectives::record_of(call, path, kernel.hash, {}, channel.identity.generation);
    channel.notes[channel.self]->noted(kernel.hash).store(record);
    ++channel.launched;
    try {
      rank_.device.launch(kernel);
    } catch (const Error& error) {
      rank_.domain.fail(error);  // peers wait in vain
    }
  };
  if (call.norm != nullptr) {
    const auto hidden = static_cast<std::uint32_t>(call.norm->weight.elements);
    if (auto fused = plan_fused(whole, path, hidden, limits_)) return put(fused->call);
  }
  for_each_launch(whole, path, limits_, window_counts_, put);
}

/// Of calls that this rank has made and another member refused, one that its caller does not know
/// of.
void CudaExecutor::throw_refusal(Channel& channel, std::string_view phase) {
  const ChannelNotes& own = *channel.notes[channel.self];
  for (std::uint32_t member = 0; member < size_of(channel); ++member) {
    if (member == channel.self) continue;
    const ChannelNotes& notes = *channel.notes[member];
    const std::uint64_t count = notes.lone_refusals.load(std::memory_order_seq_cst);
    std::uint64_t& told = channel.refusals_told[member];
    while (told != count) {
      if (count - told > ChannelNotes::kRefusals) told = count - ChannelNotes::kRefusals;
      const std::uint64_t number =
          notes.lone_numbers[told++ % ChannelNotes::kRefusals].load(std::memory_order_acquire);
      const auto seen = own.call_of(number).load_of(number);
      if (seen && seen->made == Made::refused) continue;  // has thrown there
      const auto text = notes.refusal_of(number);
      throw Error(ErrorCode::usage,
                  text
                      ? *text
                      : text_of(channel.ranks[member]) + " refused call " + std::to_string(number) +
                            " on " + collectives::describe(channel.identity.kind, channel.ranks),
                  channel.ranks[member], std::string(phase));
    }
  }
}

/// Throws the job's fault, if there is one; before it what this rank has not been told yet, which
/// may be its cause.
void CudaExecutor::check(std::string_view phase) {
  if (rank_.domain.poisoned()) {
    for (const auto& channel : channels_) throw_refusal(*channel, phase);
  }
  rank_.watch.check(phase);
}

/// What may have brought members out of step, for the text of a fault.
std::string CudaExecutor::lone_refusals(const Channel& channel) const {
  std::string text;
  for (const ChannelNotes* const notes : channel.notes) {
    const std::uint64_t count = notes->lone_refusals.load(std::memory_order_seq_cst);
    if (count == 0) continue;
    const std::uint64_t number =
        notes->lone_numbers[(count - 1) % ChannelNotes::kRefusals].load(std::memory_order_acquire);
    const auto why = notes->refusal_of(number);
    if (why) text += "; before that, " + *why;
  }
  return text;
}

}  // namespace cohort::cuda
