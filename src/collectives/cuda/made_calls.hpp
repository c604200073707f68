#pragma once

// Calls of a channel that became one launch, as they were launched. Decoding makes the same few
// calls again and again: one that equals a call kept here needs no path, plan, grid or hash of its
// own. What a call becomes depends on nothing else as long as its executor lives, but for what its
// operands lie in: blocks come and go.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include <cohort/verdict.hpp>

#include "backend/cuda/abi.hpp"
#include "collectives/call.hpp"
#include "collectives/header.hpp"

namespace cohort::cuda {

struct MadeCall {
  collectives::Call call;  ///< its stream is of no account
  KernelCall kernel;
  collectives::CallRecord record;
  PathChoice choice;
  std::uint64_t pools_changed;  ///< Pools::changes when its operands were found to be good
};

/// Most counts of a call that is kept.
inline constexpr std::size_t kKeptCountsMax = 16;

/// Norms differ from layer to layer, so calls with one do not repeat soon; with counts on the
/// device a call is captured.
constexpr bool can_be_kept(const collectives::Call& call) noexcept {
  return call.norm == nullptr && call.device_counts == nullptr &&
         call.counts.size() <= kKeptCountsMax;
}

/// Whether `kernel`, of a launch of `call`, can say all of it: windows of even calls have counts.
constexpr bool is_whole(const KernelCall& kernel, const collectives::Call& call) noexcept {
  return kernel.counts == nullptr || kernel.op == call.op;
}

/// One of several calls that share a place is kept. Thread safety: one thread.
class MadeCalls {
 public:
  static constexpr std::size_t kPlaces = 32;

  MadeCalls() = default;
  MadeCalls(const MadeCalls&) = delete;
  MadeCalls& operator=(const MadeCalls&) = delete;

  /// The call that equals `call` in all but its stream, or null.
  MadeCall* find(const collectives::Call& call) noexcept {
    const std::size_t place = place_of(call);
    MadeCall& made = made_[place];
    const bool kept = (held_ >> place & 1U) != 0 && can_be_kept(call);
    return kept && are_equal(made.call, call) ? &made : nullptr;
  }

  /// Whether the last call asked about at this place was an equal one, as far as one can tell
  /// quickly: a call that is made once only is not worth keeping.
  bool recurs(const collectives::Call& call) noexcept {
    const std::uint64_t mixed = mixed_of(call);
    return std::exchange(asked_[mixed % kPlaces], mixed) == mixed;
  }

  /// Requires: `can_be_kept`, and `made.kernel` is all that the call becomes.
  void keep(const MadeCall& made) noexcept {
    const std::size_t place = place_of(made.call);
    made_[place] = made;
    Counts& counts = counts_[place];
    const std::span<const std::size_t> given = made.call.counts;
    std::copy(given.begin(), given.end(), counts.elements.begin());
    made_[place].call.counts = std::span(counts.elements).first(given.size());
    if (made.kernel.counts != nullptr) {
      std::copy_n(made.kernel.counts, given.size(), counts.bytes.begin());
      made_[place].kernel.counts = counts.bytes.data();
    }
    held_ |= std::uint64_t{1} << place;
  }
  void forget(const collectives::Call& call) noexcept {
    held_ &= ~(std::uint64_t{1} << place_of(call));
  }

 private:
  struct Counts {
    std::array<std::size_t, kKeptCountsMax> elements;
    std::array<std::uint64_t, kKeptCountsMax> bytes;
  };

  static std::uint64_t bits(const void* address) noexcept {
    return reinterpret_cast<std::uintptr_t>(address);
  }
  static std::uint64_t mixed_of(const collectives::Call& call) noexcept {
    const std::uint64_t mixed =
        (bits(call.input.data) ^ bits(call.output.data) << 7U ^ call.input.elements << 20U ^
         call.output.elements << 13U ^ static_cast<std::uint64_t>(call.op)) *
        0x9E37'79B9'7F4A'7C15U;
    return mixed >> 32U;
  }
  static std::size_t place_of(const collectives::Call& call) noexcept {
    return mixed_of(call) % kPlaces;
  }
  static bool are_equal(const collectives::Call& left, const collectives::Call& right) noexcept {
    return left.op == right.op && left.reduce_op == right.reduce_op && left.dtype == right.dtype &&
           left.root == right.root && left.on_own_paths == right.on_own_paths &&
           left.input.data == right.input.data && left.input.elements == right.input.elements &&
           left.input.dtype == right.input.dtype && left.output.data == right.output.data &&
           left.output.elements == right.output.elements &&
           left.output.dtype == right.output.dtype &&
           std::equal(left.counts.begin(), left.counts.end(), right.counts.begin(),
                      right.counts.end());
  }

  std::uint64_t held_ = 0;  // a bit for each place
  std::array<std::uint64_t, kPlaces> asked_{};
  std::array<MadeCall, kPlaces> made_;
  std::array<Counts, kPlaces> counts_;
};
static_assert(MadeCalls::kPlaces <= 64);

}  // namespace cohort::cuda
