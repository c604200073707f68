#pragma once

// Where an executor finds the channel of a call: channels lie by group kind, then by lane.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include <cohort/ids.hpp>
#include <cohort/layout.hpp>

namespace cohort::collectives {

class ChannelIndex {
 public:
  explicit ChannelIndex(std::uint32_t lanes) noexcept : lanes_(lanes) { first_.fill(kNone); }

  /// Of channels in their order: the first one of a kind counts, its further lanes follow.
  void add(GroupKind kind, std::size_t channel) noexcept {
    std::size_t& first = first_[static_cast<std::size_t>(kind)];
    if (first == kNone) first = channel;
  }
  /// Throws: Error{usage} for a group that nothing was planned for, and for a lane too many.
  std::size_t at(GroupKind kind, Lane lane) const {
    const std::size_t first = first_[static_cast<std::size_t>(kind)];
    if (first == kNone || lane.index() >= lanes_) refuse(kind, lane);
    return first + lane.index();
  }
  /// The channel of lane 0, if there is one.
  std::optional<std::size_t> first_of(GroupKind kind) const noexcept {
    const std::size_t first = first_[static_cast<std::size_t>(kind)];
    return first == kNone ? std::nullopt : std::optional(first);
  }

 private:
  static constexpr std::size_t kNone = SIZE_MAX;

  [[noreturn]] void refuse(GroupKind kind, Lane lane) const;

  std::array<std::size_t, kGroupKindCount> first_{};
  std::uint32_t lanes_;
};

}  // namespace cohort::collectives
