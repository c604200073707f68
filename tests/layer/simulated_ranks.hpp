#pragma once

#include <cstdint>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include <cohort/layer.hpp>

namespace cohort::test {

/// All ranks of a layout in one process, each with its rows of integers: executes moves step by
/// step with collectives written down from their definitions, and knows by the definition of a
/// placement what each rank must hold. Shares no arithmetic with the planner but the steps
/// themselves.
class SimulatedRanks {
 public:
  using Rows = std::vector<std::vector<std::int64_t>>;  // (rows, width)

  /// `chunk_counts`: rows of each (replica, chunk); `width` integers per row.
  SimulatedRanks(const Layout& layout, const std::vector<std::size_t>& chunk_counts,
                 std::size_t width, std::uint32_t seed);

  const BatchRows& rows() const noexcept { return rows_; }
  const Rows& truth() const noexcept { return truth_; }

  /// Replaces the rows that all placements are views of.
  void set_truth(Rows truth) { truth_ = std::move(truth); }

  /// Gives every rank what the placement says it holds; what is owed as random partial sums.
  void hold(const Placement& placement);

  /// Executes a move on what the ranks hold now.
  void run(const Move& move);

  /// Fails the test unless every rank holds what the placement says, bit for bit.
  void expect(const Placement& placement) const;

  Rows& of(std::uint32_t rank) { return held_[rank]; }

  /// The rows of a rank in a complete placement, by definition.
  Rows expected(const Placement& placement, std::uint32_t rank) const;

 private:
  struct Coordinates {
    std::uint32_t dp, cp, tp;
  };
  Coordinates coordinates(std::uint32_t rank) const;
  void run_group(const std::vector<RankStep>& steps, std::span<const WorldRank> members);

  const Layout& layout_;
  std::vector<Coordinates> owner_;  // of each row: the one rank that has it in its slice
  BatchRows rows_;
  std::mt19937 random_;
  Rows truth_;
  std::vector<Rows> held_;  // by rank
};

}  // namespace cohort::test
