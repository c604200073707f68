#include "collectives/header.hpp"

#define XXH_INLINE_ALL
#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>

#include <xxhash.h>

#include "heap/block_allocator.hpp"

namespace cohort::collectives {
namespace {

std::uint64_t counts_hash(const Call& call) noexcept {
  if (call.device_counts != nullptr) return kCountsOnDevice;
  if (!has_counts(call.op)) return 0;
  return XXH3_64bits(call.counts.data(), call.counts.size_bytes());
}

/// Of a square matrix that is written row by row: the largest sum of a row.
std::size_t largest_row(std::span<const std::size_t> counts) noexcept {
  std::size_t size = 0;
  while ((size + 1) * (size + 1) <= counts.size()) ++size;
  if (size * size != counts.size()) return 0;  // refused later
  std::size_t largest = 0;
  for (std::size_t row = 0; row < size; ++row) {
    const auto begin = counts.begin() + static_cast<std::ptrdiff_t>(row * size);
    largest = std::max(
        largest, std::accumulate(begin, begin + static_cast<std::ptrdiff_t>(size), std::size_t{0}));
  }
  return largest;
}

/// Fields that an operation does not use must not make two equal calls look different. Sums have no
/// root; with a norm behind them the length of its rows stands there.
std::uint32_t agreed_root(const Call& call) noexcept {
  if (call.norm != nullptr) return static_cast<std::uint32_t>(call.norm->weight.elements);
  return call.op == Op::broadcast || is_message(call.op) ? call.root.index() : 0;
}

std::uint32_t agreed_receiver(const Call& call) noexcept {
  return is_message(call.op) ? call.to.index() : 0;
}

/// The two sides of a message are one call.
Op agreed_op(const Call& call) noexcept {
  return call.op == Op::recv ? Op::send : named_op(call);
}

ReduceOp agreed_reduce_op(const Call& call) noexcept {
  return is_reduction(call.op) ? call.reduce_op : ReduceOp::sum;
}

}  // namespace

std::size_t agreed_bytes(const Call& call) noexcept {
  const std::size_t element_bytes = bytes_of(call.dtype);
  switch (call.op) {
    case Op::all_reduce:
    case Op::all_gather:
    case Op::reduce_scatter:
    case Op::all_to_all: return call.input.elements * element_bytes;
    case Op::broadcast: return call.output.elements * element_bytes;
    case Op::all_gatherv:
      return call.counts.empty()
                 ? 0
                 : *std::max_element(call.counts.begin(), call.counts.end()) * element_bytes;
    case Op::reduce_scatterv:
      return std::accumulate(call.counts.begin(), call.counts.end(), std::size_t{0}) *
             element_bytes;
    case Op::all_to_allv: return largest_row(call.counts) * element_bytes;
    case Op::send: return call.input.elements * element_bytes;
    case Op::recv: return call.output.elements * element_bytes;
    case Op::barrier: return 0;
  }
  return 0;
}

std::uint64_t call_hash(const ChannelIdentity& channel, const Call& call, Path path) noexcept {
  const std::array<std::uint64_t, 6> words = {
      std::uint64_t{channel.generation} << 32U | channel.lane.index(),
      std::uint64_t{static_cast<std::uint8_t>(channel.kind)} << 32U | channel.instance,
      std::uint64_t{static_cast<std::uint8_t>(agreed_op(call))} << 32U |
          std::uint64_t{static_cast<std::uint8_t>(agreed_reduce_op(call))} << 24U |
          std::uint64_t{static_cast<std::uint8_t>(call.dtype)} << 16U |
          std::uint64_t{static_cast<std::uint8_t>(path)} << 8U,
      std::uint64_t{agreed_receiver(call)} << 32U | agreed_root(call),
      agreed_bytes(call),
      counts_hash(call),
  };
  return XXH3_64bits(words.data(), sizeof(words));
}

CallRecord record_of(const Call& call, Path path, std::uint64_t sequence, Place place,
                     std::uint32_t generation) noexcept {
  CallRecord record;
  record.sequence = sequence;
  record.bytes = agreed_bytes(call);
  record.counts_hash = counts_hash(call);
  record.place = place.word();
  record.root = agreed_root(call);
  record.receiver = agreed_receiver(call);
  record.generation = generation;
  record.op = named_op(call);
  record.reduce_op = agreed_reduce_op(call);
  record.dtype = call.dtype;
  record.path = path;
  return record;
}

// A peer that reads one of the words of the next record has thereby seen that record's sequence.
void NotedCall::store(const CallRecord& record) noexcept {
  words_[0].store(record.sequence, std::memory_order_relaxed);
  words_[1].store(record.bytes, std::memory_order_release);
  words_[2].store(record.counts_hash, std::memory_order_release);
  words_[3].store(record.place, std::memory_order_release);
  words_[4].store(std::uint64_t{record.receiver} << 32U | record.root, std::memory_order_release);
  words_[5].store(std::uint64_t{record.generation} << 32U |
                      std::uint64_t{static_cast<std::uint8_t>(record.op)} << 24U |
                      std::uint64_t{static_cast<std::uint8_t>(record.reduce_op)} << 16U |
                      std::uint64_t{static_cast<std::uint8_t>(record.dtype)} << 8U |
                      std::uint64_t{static_cast<std::uint8_t>(record.path)},
                  std::memory_order_release);
}

void NotedCall::clear(std::uint64_t sequence) noexcept {
  words_[0].store(~sequence, std::memory_order_relaxed);
}

CallRecord NotedCall::load() const noexcept {
  const auto word = [this](std::size_t index) {
    return words_[index].load(std::memory_order_acquire);
  };
  const auto byte = [&word](unsigned index) {
    return static_cast<std::uint8_t>(word(5) >> 8U * index);
  };
  CallRecord record;
  record.sequence = word(0);
  record.bytes = word(1);
  record.counts_hash = word(2);
  record.place = word(3);
  record.root = static_cast<std::uint32_t>(word(4));
  record.receiver = static_cast<std::uint32_t>(word(4) >> 32U);
  record.generation = static_cast<std::uint32_t>(word(5) >> 32U);
  record.op = static_cast<Op>(byte(3));
  record.reduce_op = static_cast<ReduceOp>(byte(2));
  record.dtype = static_cast<DType>(byte(1));
  record.path = static_cast<Path>(byte(0));
  return record;
}

std::optional<CallRecord> NotedCall::load_of(std::uint64_t sequence) const noexcept {
  const CallRecord record = load();
  if (words_[0].load(std::memory_order_acquire) != sequence) return std::nullopt;
  return record.sequence == sequence ? std::optional(record) : std::nullopt;
}

void write_refusal(CallNote& note, std::string_view why) noexcept {
  const std::size_t length = std::min(why.size(), sizeof(note.refusal) - 1);
  std::copy_n(why.data(), length, note.refusal);
  note.refusal[length] = 0;
}

std::string read_refusal(const CallNote& note) {
  return {note.refusal, ::strnlen(note.refusal, sizeof(note.refusal))};
}

ErrorCode refusal_code(const CallNote& note) noexcept {
  const ErrorCode code = Place::from_word(note.call.load().place).code();
  return to_string(code) == "unknown" ? ErrorCode::corrupt : code;
}

std::string describe(const CallRecord& record) {
  std::string text(to_string(record.op));
  if (record.op == Op::barrier) return text;
  text += "(";
  if (is_reduction(record.op)) text += std::string(to_string(record.reduce_op)) + ", ";
  if (is_reduction(record.op) && record.root != 0) {
    text += "rows of " + std::to_string(record.root) + " normed, ";
  }
  if (record.op == Op::broadcast) text += "root " + std::to_string(record.root) + ", ";
  if (is_message(record.op)) {
    text += std::to_string(record.root) + " to " + std::to_string(record.receiver) + ", ";
  }
  text += std::string(to_string(record.dtype)) + ", " + std::to_string(record.bytes) + " bytes";
  if (record.counts_hash == kCountsOnDevice) {
    text += " at most, counts on the device";
  } else if (has_counts(record.op)) {
    text += ", counts hash " + std::to_string(record.counts_hash % 1'000'000);
  }
  text += ", " + std::string(to_string(record.path));
  const Place place = Place::from_word(record.place);
  if (place.kind() == Place::Kind::heap) {
    text += ", slot " + std::to_string(place.entry().slot) + " entry " +
            std::to_string(place.entry().entry);
  } else if (place.kind() == Place::Kind::block) {
    text += ", pool " + std::to_string(place.pool()) + " block at " +
            std::to_string(std::size_t{place.unit()} * heap::BlockAllocator::kUnitBytes);
  }
  return text + ")";
}

std::string other_generation(const CallRecord& mine, const CallRecord& theirs) {
  if (mine.generation == theirs.generation) return {};
  return " (one of generation " + std::to_string(mine.generation) + ", the other of generation " +
         std::to_string(theirs.generation) + " of the plan)";
}

std::string describe(GroupKind kind, std::span<const WorldRank> ranks) {
  std::string text(to_string(kind));
  text += " [";
  for (std::size_t i = 0; i < ranks.size(); ++i) {
    if (i > 0) text += ", ";
    text += std::to_string(ranks[i].index());
  }
  return text + "]";
}

}  // namespace cohort::collectives
