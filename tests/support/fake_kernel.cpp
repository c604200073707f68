#include "support/fake_kernel.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <optional>
#include <thread>
#include <vector>

#include "collectives/cuda/kernels/counted_extents.hpp"
#include "collectives/cuda/kernels/extents.hpp"
#include "collectives/host/reduce.hpp"

namespace cohort::test {
namespace {

using cuda::Address;
using cuda::ChannelWords;
using cuda::Extent;
using cuda::FaultRecord;
using cuda::KernelCall;
using cuda::SessionWords;
using Bytes = std::vector<std::byte>;

/// Lines are stored and polled as two halves here: nothing larger is one on every machine.
constexpr std::uint32_t kHalfBytes = 8;
constexpr std::uint64_t kSentinelHalf =
    std::uint64_t{cuda::kSentinel} << 32U | std::uint64_t{cuda::kSentinel};
constexpr std::uint64_t kHalvesOfChunk =
    std::uint64_t{cuda::kChunkLines} * cuda::kLineBytes / kHalfBytes;

std::byte* pointer(Address address) {
  return reinterpret_cast<std::byte*>(static_cast<std::uintptr_t>(address));  // NOLINT
}

template <typename Word>
std::atomic_ref<Word> word_at(Address address) {
  return std::atomic_ref<Word>(*reinterpret_cast<Word*>(pointer(address)));
}

std::uint64_t output_bytes(const KernelCall& call) {
  const std::uint32_t self = call.members.self;
  switch (call.op) {
    case Op::all_reduce:
    case Op::reduce_scatter:
    case Op::broadcast: return call.bytes;
    case Op::all_gather:
    case Op::all_to_all: return call.bytes * call.members.count;
    case Op::all_gatherv: return cuda::sum_of_counts(call.counts, 1, call.members.count);
    case Op::reduce_scatterv: return call.counts[self];
    case Op::all_to_allv:
      return cuda::sum_of_counts(call.counts + self, call.members.count, call.members.count);
    default: return 0;
  }
}

bool is_real(DType dtype) {
  return dtype == DType::f32 || dtype == DType::bf16 || dtype == DType::f16;
}

/// Of a half that would read as the sentinel: other NaNs of the same type.
std::uint64_t other_nans(DType dtype) {
  if (dtype == DType::f32) return 0x7FC000007FC00000U;
  return dtype == DType::bf16 ? 0x7FC07FC07FC07FC0U : 0x7E007E007E007E00U;
}

/// Ranks that are threads see each other's arenas at addresses of their own, so that sanitizers do
/// not see how a call orders them: this they do.
void order_with_other_ranks() {
  static std::atomic<std::uint64_t> calls = 0;
  calls.fetch_add(1, std::memory_order_acq_rel);
}

/// The end of a kernel before its time.
struct Fault {
  FaultRecord::Kind kind;
  std::uint32_t member = 0;
  std::uint64_t their_hash = 0;
};

class Kernel {
 public:
  explicit Kernel(const KernelCall& call)
      : call_(call),
        hash_(call.hash),
        arena_(arena_of(call.members.self)),
        sequence_(word_at<std::uint64_t>(arena_ + call.map.words).load() / cuda::kCounterStep + 1),
        buffer_(sequence_ & 1U),
        began_(std::chrono::steady_clock::now()) {}

  void run() {
    order_with_other_ranks();
    try {
      check_start();
      read_counts();
      push_headers();
      exchange();
    } catch (const Fault& fault) {
      report(fault);
      fill_output();
    }
    order_with_other_ranks();
    word_at<std::uint64_t>(arena_ + call_.map.words).fetch_add(cuda::kCounterStep);
    if (call_.tally == 0) return;
    word_at<std::uint64_t>(call_.tally).fetch_add(1);
    word_at<std::uint64_t>(call_.tally + 8).fetch_add(call_.tally_bytes);
  }

 private:
  Address arena_of(std::uint32_t member) const {
    return call_.members.arenas + call_.members.stride * call_.members.ranks[member];
  }
  std::uint32_t self() const { return call_.members.self; }
  std::uint32_t count() const { return call_.members.count; }
  bool flagged() const { return call_.protocol == cuda::Protocol::flags; }

  void check_start() const {
    if (word_at<std::uint32_t>(arena_).load() != 0) throw Fault{FaultRecord::Kind::poisoned};
    const Address generation = arena_ + call_.map.words + offsetof(ChannelWords, generation);
    if (word_at<std::uint32_t>(generation).load() != call_.generation) {
      throw Fault{FaultRecord::Kind::stale_generation};
    }
  }

  // --- counts on the device ---------------------------------------------------------------------

  void read_counts() {
    if (call_.device_counts == 0) return;
    shape_ = {call_.op,    count(),     static_cast<std::uint32_t>(bytes_of(call_.dtype)),
              call_.first, call_.bytes, call_.most};
    const auto* const words = reinterpret_cast<const std::uint64_t*>(pointer(call_.device_counts));
    counts_.assign(words, words + cuda::Counted(shape_, words).size());
    for (std::uint32_t i = 0; i < counts_.size(); ++i) {
      hash_ = cuda::fold_count(hash_, i, counts_[i]);
    }
    const cuda::Counted counted = this->counted();
    for (std::uint32_t i = 0; i < counts_.size(); ++i) {
      if (counted.exceeds(i)) throw Fault{FaultRecord::Kind::count_too_large, i, counts_[i]};
    }
  }
  cuda::Counted counted() const { return {shape_, counts_.data()}; }

  Extent sent_extent(std::uint32_t from, std::uint32_t to) const {
    if (counts_.empty()) {
      return {cuda::input_begin(call_, from, to), cuda::sent_bytes(call_, from, to)};
    }
    const cuda::CountedPart part = counted().sent(from, to);
    return {part.begin, part.bytes};
  }
  std::uint64_t output_begin(std::uint32_t from) const {
    if (counts_.empty()) return cuda::output_begin(call_, from, self());
    return counted().received(from, self()).begin;
  }

  /// Waits for `ready`, which reads what `member` pushes.
  template <typename Ready>
  void await(std::uint32_t member, const Ready& ready) const {
    while (!ready()) {
      if (word_at<std::uint32_t>(arena_).load() != 0) {
        throw Fault{FaultRecord::Kind::poisoned, member};
      }
      const auto waited = std::chrono::steady_clock::now() - began_;
      if (waited > std::chrono::nanoseconds(call_.deadline_ns)) {
        throw Fault{FaultRecord::Kind::deadline, member};
      }
      std::this_thread::yield();
    }
  }

  // --- headers ----------------------------------------------------------------------------------

  Address header(std::uint32_t from, std::uint32_t to, std::uint32_t block) const {
    const std::uint64_t source = buffer_ * (count() - 1) + cuda::source_index(from, to);
    return arena_of(to) + call_.map.headers +
           (source * cuda::kBlocksMax + block) * cuda::kLineBytes;
  }

  /// What carries a flag: a half with 4 bytes of the sequence in it.
  std::uint64_t with_flag(std::uint32_t data) const { return sequence_ << 32U | data; }
  bool has_flag(std::uint64_t half) const { return half >> 32U == (sequence_ & 0xFFFFFFFFU); }

  void push_headers() const {
    for (std::uint32_t to = 0; to < count(); ++to) {
      for (std::uint32_t block = 0; to != self() && block < call_.blocks; ++block) {
        const Address line = header(self(), to, block);
        const auto high = static_cast<std::uint32_t>(hash_ >> 32U);
        word_at<std::uint64_t>(line).store(with_flag(static_cast<std::uint32_t>(hash_)));
        word_at<std::uint64_t>(line + kHalfBytes).store(with_flag(high));
      }
    }
  }

  std::uint32_t await_flagged(std::uint32_t from, Address half) const {
    std::uint64_t value = 0;
    await(from, [&] {
      value = word_at<std::uint64_t>(half).load();
      return has_flag(value);
    });
    return static_cast<std::uint32_t>(value);
  }

  void compare_headers(std::uint32_t from) const {
    for (std::uint32_t block = 0; block < call_.blocks; ++block) {
      const Address line = header(from, self(), block);
      const std::uint64_t low = await_flagged(from, line);
      const std::uint64_t hash = std::uint64_t{await_flagged(from, line + kHalfBytes)} << 32U | low;
      if (hash != hash_) throw Fault{FaultRecord::Kind::mismatch, from, hash};
    }
  }

  // --- data -------------------------------------------------------------------------------------

  Address flag_line(std::uint32_t from, std::uint32_t to, std::uint64_t line) const {
    const std::uint64_t source = buffer_ * (count() - 1) + cuda::source_index(from, to);
    return arena_of(to) + call_.map.flag_lines +
           (source * cuda::kFlagLines + line) * cuda::kLineBytes;
  }
  Address data_half(std::uint32_t to, std::uint64_t half) const {
    return arena_of(to) + call_.map.data + buffer_ * call_.map.data_bytes + half * kHalfBytes;
  }
  Address chunk(std::uint32_t to, std::uint64_t half) const {
    const std::uint64_t chunks = call_.map.data_bytes / cuda::kLineBytes / cuda::kChunkLines;
    return arena_of(to) + call_.map.chunks +
           (buffer_ * chunks + half / kHalvesOfChunk) * sizeof(std::uint64_t);
  }

  void push(std::uint32_t to, Bytes data, std::uint64_t first_line) const {
    const std::uint64_t lines =
        cuda::lines_of(data.size(), flagged() ? kHalfBytes : cuda::kLineBytes);
    data.resize(lines * (flagged() ? kHalfBytes : cuda::kLineBytes));
    std::vector<Address> releases;
    for (std::uint64_t i = 0; i < data.size() / kHalfBytes; ++i) {
      std::uint64_t half = 0;
      std::memcpy(&half, data.data() + i * kHalfBytes, sizeof half);
      if (flagged()) {
        const Address line = flag_line(self(), to, i);
        word_at<std::uint64_t>(line).store(with_flag(static_cast<std::uint32_t>(half)));
        word_at<std::uint64_t>(line + kHalfBytes)
            .store(with_flag(static_cast<std::uint32_t>(half >> 32U)));
        continue;
      }
      const std::uint64_t place = first_line * 2 + i;
      if (half == kSentinelHalf) {
        if (cuda::is_reduction_call(call_.op) && is_real(call_.dtype)) {
          half = other_nans(call_.dtype);
        } else {
          releases.push_back(chunk(to, place));
        }
      }
      word_at<std::uint64_t>(data_half(to, place)).store(half);
    }
    for (const Address release : releases) word_at<std::uint64_t>(release).store(sequence_);
  }

  Bytes receive(std::uint32_t from, std::uint64_t bytes, std::uint64_t first_line) const {
    const std::uint64_t halves =
        flagged() ? cuda::lines_of(bytes, kHalfBytes) : cuda::lines_of(bytes, cuda::kLineBytes) * 2;
    Bytes data(halves * kHalfBytes);
    for (std::uint64_t i = 0; i < halves; ++i) {
      std::uint64_t half = 0;
      if (flagged()) {
        const Address line = flag_line(from, self(), i);
        half = await_flagged(from, line);
        half |= std::uint64_t{await_flagged(from, line + kHalfBytes)} << 32U;
      } else {
        half = receive_half(from, first_line * 2 + i);
      }
      std::memcpy(data.data() + i * kHalfBytes, &half, sizeof half);
    }
    data.resize(bytes);
    return data;
  }

  std::uint64_t receive_half(std::uint32_t from, std::uint64_t place) const {
    const auto word = word_at<std::uint64_t>(data_half(self(), place));
    std::uint64_t half = kSentinelHalf;
    await(from, [&] {
      half = word.load();
      if (half != kSentinelHalf) return true;
      if (word_at<std::uint64_t>(chunk(self(), place)).load() != sequence_) return false;
      half = word.load();  // what came before the release
      return true;
    });
    word.store(kSentinelHalf);
    return half;
  }

  // --- operations -------------------------------------------------------------------------------

  Bytes read_input(Extent extent) const {
    if (call_.stands_in) return Bytes(extent.bytes, std::byte{0xFF});
    const std::byte* const begin = pointer(call_.input) + extent.begin;
    return {begin, begin + extent.bytes};
  }
  void write_output(std::uint64_t begin, const Bytes& data) const {
    if (call_.stands_in) return;
    std::copy(data.begin(), data.end(), pointer(call_.output) + begin);
  }

  Bytes reduced(const std::vector<Bytes>& parts) const {
    std::vector<const std::byte*> inputs;
    for (const Bytes& part : parts) inputs.push_back(part.data());
    Bytes result(parts[0].size());
    host::reduce(inputs, result.data(), result.size() / bytes_of(call_.dtype), call_.dtype,
                 call_.reduce_op);
    return result;
  }

  void exchange() const {
    // Copies: in place, results overwrite what others have yet to get.
    for (std::uint32_t to = 0; to < count(); ++to) {
      if (to == self()) continue;
      push(to, read_input(sent_extent(self(), to)), cuda::scratch_line(call_, self(), to));
    }
    std::vector<Bytes> parts(count());
    parts[self()] = read_input(sent_extent(self(), self()));
    for (std::uint32_t from = 0; from < count(); ++from) {
      if (from == self()) continue;
      compare_headers(from);
      parts[from] =
          receive(from, sent_extent(from, self()).bytes, cuda::scratch_line(call_, from, self()));
    }
    if (cuda::is_reduction_call(call_.op)) {
      const Bytes sum = reduced(parts);
      write_output(output_begin(self()), sum);
      if (call_.algorithm == cuda::Algorithm::two_shot) pass_on(sum);
      return;
    }
    for (std::uint32_t from = 0; from < count(); ++from) {
      const bool none = call_.op == Op::broadcast && from != call_.root;
      if (!none) write_output(output_begin(from), parts[from]);
    }
  }

  void pass_on(const Bytes& sum) const {
    const std::uint64_t second = cuda::second_region_line(call_);
    for (std::uint32_t to = 0; to < count(); ++to) {
      if (to != self()) push(to, sum, second + cuda::scratch_line(call_, self(), to));
    }
    for (std::uint32_t from = 0; from < count(); ++from) {
      if (from == self()) continue;
      const Extent part = cuda::two_shot_part(call_, from);
      write_output(part.begin,
                   receive(from, part.bytes, second + cuda::scratch_line(call_, from, self())));
    }
  }

  // --- faults -----------------------------------------------------------------------------------

  void report(const Fault& fault) const {
    const auto waited = std::chrono::steady_clock::now() - began_;
    const auto claimed = word_at<std::uint32_t>(arena_ + offsetof(SessionWords, claimed));
    if (claimed.exchange(1) == 0) {
      auto& record = *reinterpret_cast<FaultRecord*>(pointer(call_.fault));
      record.kind = fault.kind;
      record.member = fault.member;
      record.channel = call_.channel;
      record.sequence = sequence_;
      record.own_hash = hash_;
      record.their_hash = fault.their_hash;
      record.waited_ns = static_cast<std::uint64_t>(
          std::chrono::duration_cast<std::chrono::nanoseconds>(waited).count());
      std::atomic_ref(record.complete).store(1);
    }
    for (std::uint32_t member = 0; member < count(); ++member) {
      word_at<std::uint32_t>(arena_of(member)).store(1);
    }
  }

  void fill_output() const {
    if (!counts_.empty()) return fill_parts();
    write_output(0, invalid(output_bytes(call_)));
  }

  void fill_parts() const {
    const cuda::Counted counts = counted();
    for (std::uint32_t from = 0; from < count(); ++from) {
      const cuda::CountedPart part = counts.received(from, self());
      write_output(part.begin, invalid(part.bytes));
      if (call_.op == Op::reduce_scatter) return;
    }
  }

  Bytes invalid(std::uint64_t bytes) const {
    Bytes invalid(bytes, std::byte{0xFF});
    if (is_real(call_.dtype)) {
      const std::uint64_t nans = other_nans(call_.dtype);
      for (std::uint64_t i = 0; i < bytes; i += bytes_of(call_.dtype)) {
        std::memcpy(invalid.data() + i, &nans, bytes_of(call_.dtype));
      }
    }
    return invalid;
  }

  const KernelCall& call_;
  std::uint64_t hash_;  ///< with counts on the device folded in
  cuda::CountedShape shape_{};
  std::vector<std::uint64_t> counts_;
  Address arena_;
  std::uint64_t sequence_;
  std::uint64_t buffer_;
  std::chrono::steady_clock::time_point began_;
};

}  // namespace

std::string fault_of_launch(const KernelCall& call) {
  if (call.members.count < 2) return "launch: a group of fewer than 2 members";
  if (call.blocks == 0 || call.blocks > cuda::kBlocksMax) {
    return "launch: " + std::to_string(call.blocks) + " blocks";
  }
  if (call.threads == 0 || call.threads % 32 != 0 || call.threads > 1024) {
    return "launch: " + std::to_string(call.threads) + " threads";
  }
  const bool flags = call.protocol == cuda::Protocol::flags;
  const std::uint64_t lines =
      cuda::lines_of(cuda::largest_part_bytes(call), flags ? kHalfBytes : cuda::kLineBytes);
  if (flags && lines > cuda::kFlagLines) return "launch: more lines than carry flags";
  for (std::uint32_t to = 0; !flags && to < call.members.count; ++to) {
    if (cuda::scratch_lines(call, to) * cuda::kLineBytes > call.map.data_bytes) {
      return "launch: scratch does not hold the call";
    }
  }
  const std::uint64_t covered = std::uint64_t{call.blocks} * call.threads * call.lines_per_thread;
  if (call.algorithm != cuda::Algorithm::split && !call.stands_in && covered < lines) {
    return "launch: the grid does not cover the operands";
  }
  return {};
}

void run_fake_kernel(const KernelCall& call) {
  Kernel(call).run();
}

}  // namespace cohort::test
