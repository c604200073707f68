#pragma once

// The regions of a (group, lane) in GPU memory, as the kernels know them: pure arithmetic.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

#include <cohort/verdict.hpp>

#include "backend/cuda/channel_map.hpp"
#include "heap/arena_layout.hpp"

namespace cohort::heap {

/// Tallies of an operation: one for each path, then one for each reason and own path of calls that
/// NCCL was to take and did not.
inline constexpr std::size_t kOwnDevicePaths = 3;  // from gpu_ll on
inline constexpr std::size_t kMissedReasons = 4;
inline constexpr std::size_t kTallyPaths = kPathCount + kMissedReasons * kOwnDevicePaths;
/// The channel's words, then a cuda::Tally for each operation and path.
inline constexpr std::size_t kDeviceSyncBytes = align_up(
    sizeof(cuda::ChannelWords) + kOpCount * kTallyPaths * sizeof(cuda::Tally), kAlignmentBytes);
/// What hosts note of a channel's calls, in the host words.
inline constexpr std::size_t kNotesBytes = 20480;
/// No two sources share a chunk.
inline constexpr std::size_t kChunkBytes = std::size_t{cuda::kChunkLines} * cuda::kLineBytes;
/// With more than two members, more scratch than one operand takes pays only while calls are small.
inline constexpr std::size_t kOneShotScratchBytes = std::size_t{8} << 20U;

/// Scratch of one buffer for groups of `members` whose largest operand has `largest` bytes.
constexpr std::size_t device_data_bytes(std::uint32_t members, std::size_t largest) noexcept {
  if (members < 2) return 0;
  const std::size_t sources = members - 1;
  const std::size_t one_shot = std::min(sources * largest, kOneShotScratchBytes);
  // Up to a chunk of padding for each source, and for the part that stays at home.
  const std::size_t padding = members == 2 ? 0 : members * kChunkBytes;
  return std::max(align_up(std::max(largest, one_shot), kChunkBytes) + padding, kChunkBytes);
}

/// Where a channel's regions lie in every member's arena. Requires: it is in GPU memory.
constexpr cuda::ChannelMap device_map(const ChannelRegion& region) noexcept {
  const std::uint32_t members = region.device_members;
  cuda::ChannelMap map{};
  map.words = region.sync_offset;
  if (members < 2) return map;
  map.data_bytes = device_data_bytes(members, region.staging_entry_bytes);
  map.headers = region.scratch_offset;
  map.flag_lines = align_up(map.headers + cuda::headers_bytes(members), kAlignmentBytes);
  map.chunks = align_up(map.flag_lines + cuda::flag_lines_bytes(members), kAlignmentBytes);
  map.data = align_up(map.chunks + cuda::chunks_bytes(map.data_bytes), kAlignmentBytes);
  return map;
}

constexpr std::size_t device_scratch_bytes(const ChannelRegion& region) noexcept {
  if (region.device_members < 2) return 0;
  const cuda::ChannelMap map = device_map(region);
  return map.data + cuda::kBuffers * map.data_bytes - region.scratch_offset;
}

/// Why NCCL did not take a call that was to go there.
inline constexpr std::array<Reason, kMissedReasons> kMissed = {
    Reason::nccl_version_refused, Reason::op_unsupported, Reason::operand_not_in_heap,
    Reason::operand_misaligned};

/// Which tally of its operation counts a call. `missed`: it was to go to NCCL, and `reason` says
/// why it did not.
constexpr std::size_t tally_index(PathChoice choice, bool missed) noexcept {
  const auto path = static_cast<std::size_t>(choice.path);
  if (!missed) return path;
  std::size_t why = 0;
  while (why + 1 < kMissedReasons && kMissed[why] != choice.reason) ++why;
  return kPathCount + why * kOwnDevicePaths + path - static_cast<std::size_t>(Path::gpu_ll);
}

/// What `tally_index` was made of; without a reason for calls that NCCL did not miss.
constexpr std::pair<Path, std::optional<Reason>> of_tally_index(std::size_t index) noexcept {
  if (index < kPathCount) return {static_cast<Path>(index), std::nullopt};
  const std::size_t missed = index - kPathCount;
  const std::size_t path = static_cast<std::size_t>(Path::gpu_ll) + missed % kOwnDevicePaths;
  return {static_cast<Path>(path), kMissed[missed / kOwnDevicePaths]};
}

/// Where such a tally lies.
constexpr std::size_t device_tally_offset(const ChannelRegion& region, Op op,
                                          std::size_t index) noexcept {
  return region.sync_offset + sizeof(cuda::ChannelWords) +
         (static_cast<std::size_t>(op) * kTallyPaths + index) * sizeof(cuda::Tally);
}

}  // namespace cohort::heap
