// The states of channels on the device, and the counts that kernels keep there.

#include <algorithm>
#include <cstddef>
#include <thread>

#include <cohort/error.hpp>

#include "base/log.hpp"
#include "collectives/cuda/cuda_executor.hpp"

namespace cohort::cuda {
namespace {

constexpr std::chrono::milliseconds kPause{1};
constexpr std::size_t kTallies = kOpCount * heap::kTallyPaths;
using AllTallies = std::array<Tally, kTallies>;

}  // namespace

void CudaExecutor::initialise(const Channel& channel, std::uint64_t sequence) const {
  const OpenDevice& device = rank_.device;
  const Address arena = OpenDevice::host(rank_.arena.local());
  device.fill(arena + channel.region.sync_offset, 0, channel.region.sync_bytes());
  ChannelWords words{};
  words.counter = sequence * kCounterStep;
  words.generation = channel.identity.generation;
  device.write(arena + channel.base.map.words, &words, sizeof(words));
  if (channel.base.members.count < 2) return;
  // As far as can be from the next calls' flags.
  const auto never = static_cast<std::uint32_t>(sequence) ^ 0x80000000U;
  const ChannelMap& map = channel.base.map;
  const std::uint32_t members = channel.base.members.count;
  device.fill(arena + map.headers, never, headers_bytes(members));
  device.fill(arena + map.flag_lines, never, flag_lines_bytes(members));
  device.fill(arena + map.chunks, 0, chunks_bytes(map.data_bytes));
  device.fill(arena + map.data, kSentinel, kBuffers * map.data_bytes);
}

std::uint64_t CudaExecutor::counter_of(const Channel& channel, std::uint32_t member) const {
  std::uint64_t counter = 0;
  rank_.device.read(&counter,
                    OpenDevice::host(rank_.arena.of(channel.ranks[member])) +
                        channel.base.map.words + offsetof(ChannelWords, counter),
                    sizeof(counter));
  return counter;
}

// What is not yet done may be so in a moment: streams of peers are behind or ahead of this one's.
void CudaExecutor::check_idle() {
  rank_.watch.check("recommit");
  const auto deadline = rank_.domain.deadline_after(rank_.domain.limits().steady);
  for (const auto& channel : channels_) {
    for (std::uint32_t member = 0; member < size_of(*channel); ++member) {
      while (true) {
        const std::uint64_t mine = counter_of(*channel, channel->self);
        const std::uint64_t theirs = counter_of(*channel, member);
        if (mine == theirs && mine >= channel->launched * kCounterStep) break;
        rank_.watch.check("recommit");
        if (std::chrono::steady_clock::now() > deadline) {
          const WorldRank peer = channel->ranks[member];
          throw Error(ErrorCode::mismatch,
                      "rank " + std::to_string(peer.index()) + " has finished " +
                          std::to_string(theirs / kCounterStep) + " calls on " +
                          collectives::describe(channel->identity.kind, channel->ranks) + " lane " +
                          std::to_string(channel->identity.lane.index()) + ", rank " +
                          std::to_string(rank_.domain.rank().index()) + " " +
                          std::to_string(mine / kCounterStep) + " of " +
                          std::to_string(channel->launched),
                      peer, "recommit");
        }
        std::this_thread::sleep_for(kPause);
      }
    }
  }
}

bool CudaExecutor::quiesce(Arena::TimePoint deadline) noexcept {
  try {
    for (const auto& channel : channels_) {
      while (counter_of(*channel, channel->self) < channel->launched * kCounterStep) {
        if (std::chrono::steady_clock::now() > deadline) return false;
        std::this_thread::sleep_for(kPause);
      }
    }
    return true;
  } catch (const std::exception&) {
    return false;  // a device that answers no more
  }
}

/// The tallies know the path alone, but for calls that NCCL did not take.
Reason CudaExecutor::tallied_reason(Path path) const noexcept {
  const auto pin = table_.pin();
  if (!pin || *pin == path || is_on_nccl(*pin)) return Reason::ok;
  return *pin == Path::gpu_two_shot ? Reason::op_unsupported : Reason::over_inline_limit;
}

void CudaExecutor::append_ledger(std::vector<LedgerRow>& rows) const {
  for (const auto& channel : channels_) {
    collectives::Ledger whole = channel->ledger;
    add_tallies(*channel, whole);
    whole.append_rows(channel->identity.kind, channel->ranks, rows);
  }
}

void CudaExecutor::add_tallies(const Channel& channel, collectives::Ledger& ledger) const {
  AllTallies tallies{};
  rank_.device.read(
      tallies.data(),
      OpenDevice::host(rank_.arena.local()) + channel.region.sync_offset + sizeof(ChannelWords),
      sizeof(tallies));
  for (std::size_t i = 0; i < kTallies; ++i) {
    if (tallies[i].calls == 0) continue;
    const Op op = static_cast<Op>(i / heap::kTallyPaths);
    const auto [path, missed] = heap::of_tally_index(i % heap::kTallyPaths);
    collectives::LedgerEntry& entry = ledger.entry(op, path, missed.value_or(tallied_reason(path)));
    entry.calls += tallies[i].calls;
    entry.bytes += tallies[i].bytes;
  }
}

/// From here on a kernel that was captured on the channel ends with a fault. Every rank does so
/// for itself, as each looks at its own words.
void CudaExecutor::retire(const Channel& channel, std::uint32_t generation) const noexcept {
  try {
    rank_.device.fill(OpenDevice::host(rank_.arena.local()) + channel.base.map.words +
                          offsetof(ChannelWords, generation),
                      generation, sizeof(ChannelWords::generation));
  } catch (const std::exception& error) {
    log(LogLevel::error,
        std::string("replays of an earlier plan will not be found out: ") + error.what());
  }
}

void CudaExecutor::inherit_ledger(const collectives::Executor& previous) {
  rank_.watch.set_reader(this);
  const auto& earlier = static_cast<const CudaExecutor&>(previous);
  for (const auto& old : earlier.channels_) {
    const auto channel = std::find_if(
        channels_.begin(), channels_.end(),
        [&](const auto& candidate) { return candidate->base.channel == old->base.channel; });
    const bool named = channel != channels_.end();
    if (named && (*channel)->region.sync_offset == old->region.sync_offset) {
      (*channel)->ledger = old->ledger;
      continue;
    }
    retire(*old, generation_);
    if (!named) continue;
    (*channel)->ledger = old->ledger;
    try {
      earlier.add_tallies(*old, (*channel)->ledger);
    } catch (const Error& error) {
      log(LogLevel::warning, std::string("counts of an earlier plan are lost: ") + error.what());
    }
  }
}

void CudaExecutor::clear_ledger() {
  for (const auto& channel : channels_) {
    channel->ledger.clear();
    rank_.device.fill(
        OpenDevice::host(rank_.arena.local()) + channel->region.sync_offset + sizeof(ChannelWords),
        0, sizeof(AllTallies));
  }
}

}  // namespace cohort::cuda
