#pragma once

// Symmetric memory as engines build it, small enough to read: pools that know only their own rank,
// groups that register memory when they first see it, calls that trust every member to do the same.
// Nothing here is a straw man: every rule has a reason that its authors give, and every fault of
// this folder was reported of code with that rule.

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include <cohort/layout.hpp>

#include "faults/rank_processes.hpp"
#include "faults/shared_region.hpp"

namespace cohort::faults::naive {

inline constexpr std::size_t kWindowsMax = 16;
/// Floats that a member can copy into the staging memory of a group.
inline constexpr std::size_t kStagingFloats = std::size_t{1} << 15;

/// One piece of memory of each member, registered with a group: what a peer's operand is found by.
struct Window {
  std::array<std::atomic<float*>, kRanksMax> bases{};  ///< by the member's place in the group
  std::array<std::atomic<std::size_t>, kRanksMax> sizes{};
};

/// A group in shared memory. No call has a deadline, and none looks at what its peers call.
class Group {
 public:
  Group(std::string_view name, std::vector<std::uint32_t> ranks, SharedRegion& region);

  std::uint32_t size() const noexcept { return static_cast<std::uint32_t>(ranks_.size()); }
  std::span<const std::uint32_t> ranks() const noexcept { return ranks_; }
  /// The sum over the members of what each contributes (see `contribution`).
  float wanted_sum(float scale = 1) const noexcept;

  /// Waits for all members, for ever.
  void barrier(Rank& rank, std::string_view where);

  /// Makes `memory` known to all members. Collective: peers must learn the address.
  const Window& register_window(Rank& rank, std::span<float> memory, std::string_view where);

  /// `output` = the sum of all members' `input`. Peers' operands are read at the same offset of the
  /// same window; an operand in no window is copied through staging, as any buffer can be.
  void all_reduce(Rank& rank, std::span<const float> input, float* output, std::string_view where);
  /// The same through a window that the caller looked up.
  void all_reduce_in(Rank& rank, const Window& window, std::span<const float> input, float* output,
                     std::string_view where);

  /// `output` = all members' `input`, `counts[i]` floats of member i. `symmetric` says whether the
  /// caller takes its memory for equal on all ranks.
  void all_gather(Rank& rank, std::span<const float> input, std::span<const std::size_t> counts,
                  float* output, bool symmetric, std::string_view where);

 private:
  std::uint32_t member(const Rank& rank) const noexcept;
  const Window* find(std::uint32_t self, std::span<const float> operand) const noexcept;
  void reduce(Rank& rank, const Window* window, std::span<const float> input, float* output,
              std::string_view where);
  /// Peers' operands of this call, by member.
  std::vector<const float*> operands(Rank& rank, const Window* window,
                                     std::span<const float> input);

  std::string_view name_;
  std::vector<std::uint32_t> ranks_;
  std::array<std::atomic<std::uint64_t>, kRanksMax>* arrived_;
  std::array<Window, kWindowsMax>* windows_;
  std::size_t registered_ = 0;
  std::vector<float*> staging_;
};

/// Group `index` of a kind, and all groups of a kind, as the layout lists them.
Group group_of(const Layout& layout, GroupKind kind, std::size_t index, SharedRegion& region);
std::vector<Group> groups_of(const Layout& layout, GroupKind kind, SharedRegion& region);

/// What a rank puts into a sum: another power of two for each, so that a wrong sum tells which
/// operands were read instead.
constexpr float contribution(std::uint32_t rank, float scale = 1) noexcept {
  return static_cast<float>(1U << rank) * scale;
}

/// A rank's caching pool: what was freed last is handed out first. All it looks at is its own
/// history.
class Pool {
 public:
  explicit Pool(std::span<float> memory) : memory_(memory) {}

  std::span<float> memory() const noexcept { return memory_; }
  /// Empty if there is no room.
  std::span<float> allocate(std::size_t count);
  void release(std::span<float> block) { free_.push_back(block); }

 private:
  std::span<float> memory_;
  std::size_t used_ = 0;
  std::vector<std::span<float>> free_;
};

/// One piece of memory for each rank.
std::vector<std::span<float>> memory_of_ranks(SharedRegion& region, std::uint32_t ranks,
                                              std::size_t floats);

}  // namespace cohort::faults::naive
