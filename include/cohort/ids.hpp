#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>

namespace cohort {

/// A rank's number among all ranks, 0 to world_size - 1. Never convertible to a GroupRank: the only
/// bridges are `Group::to_world` and `Group::rank_of`.
class WorldRank {
 public:
  constexpr WorldRank() = default;
  constexpr explicit WorldRank(std::uint32_t index) : index_(index) {}
  constexpr std::uint32_t index() const noexcept { return index_; }
  friend constexpr auto operator<=>(WorldRank, WorldRank) = default;

 private:
  std::uint32_t index_ = 0;
};

/// A rank's position in one group's list, 0 to group size - 1.
class GroupRank {
 public:
  constexpr GroupRank() = default;
  constexpr explicit GroupRank(std::uint32_t index) : index_(index) {}
  constexpr std::uint32_t index() const noexcept { return index_; }
  friend constexpr auto operator<=>(GroupRank, GroupRank) = default;

 private:
  std::uint32_t index_ = 0;
};

/// One planned buffer of a plan, in declaration order.
class SlotId {
 public:
  constexpr SlotId() = default;
  constexpr explicit SlotId(std::uint32_t index) : index_(index) {}
  constexpr std::uint32_t index() const noexcept { return index_; }
  friend constexpr auto operator<=>(SlotId, SlotId) = default;

 private:
  std::uint32_t index_ = 0;
};

/// One pool of a plan, in declaration order.
class PoolId {
 public:
  constexpr PoolId() = default;
  constexpr explicit PoolId(std::uint32_t index) : index_(index) {}
  constexpr std::uint32_t index() const noexcept { return index_; }
  friend constexpr auto operator<=>(PoolId, PoolId) = default;

 private:
  std::uint32_t index_ = 0;
};

/// An independent, ordered stream of collectives within a group.
class Lane {
 public:
  constexpr Lane() = default;
  constexpr explicit Lane(std::uint32_t index) : index_(index) {}
  constexpr std::uint32_t index() const noexcept { return index_; }
  friend constexpr auto operator<=>(Lane, Lane) = default;

 private:
  std::uint32_t index_ = 0;
};

}  // namespace cohort

template <>
struct std::hash<cohort::WorldRank> {
  std::size_t operator()(cohort::WorldRank rank) const noexcept { return rank.index(); }
};
