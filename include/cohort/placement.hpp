#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>

#include <cohort/export.hpp>
#include <cohort/layout.hpp>

namespace cohort {

/// An axis along which the ranks of a tp block may hold different token rows.
enum class TokenAxis : std::uint8_t {
  attn_dp,  ///< each replica has rows of its own
  attn_cp,  ///< each context-parallel rank has a chunk of its replica's rows
  attn_tp,  ///< each attention tensor-parallel rank has a slice of its chunk
};

/// A set of token axes. Value type.
class AxisSet {
 public:
  constexpr AxisSet() = default;
  constexpr AxisSet(std::initializer_list<TokenAxis> axes) {
    for (const TokenAxis axis : axes) bits_ = static_cast<std::uint8_t>(bits_ | bit(axis));
  }
  constexpr bool contains(TokenAxis axis) const noexcept { return (bits_ & bit(axis)) != 0; }
  friend constexpr AxisSet operator|(AxisSet a, AxisSet b) noexcept {
    AxisSet both;
    both.bits_ = static_cast<std::uint8_t>(a.bits_ | b.bits_);
    return both;
  }
  friend constexpr bool operator==(AxisSet, AxisSet) = default;

 private:
  static constexpr std::uint8_t bit(TokenAxis axis) noexcept {
    return static_cast<std::uint8_t>(1u << static_cast<unsigned>(axis));
  }
  std::uint8_t bits_ = 0;
};

/// Which rows of a batch a rank holds, and whether they are finished.
///
/// `sharded_over`: ranks that differ along these axes hold different rows, all others the same
/// ones. {} is "every rank has all rows". `owes_sum`: the rows are only correct once they are added
/// up over that group.
struct Placement {
  AxisSet sharded_over;
  std::optional<GroupKind> owes_sum;
  friend bool operator==(const Placement&, const Placement&) = default;
};

/// The placement without what the layout makes meaningless: axes of one rank, sums over one rank;
/// sums over groups with equal ranks become one. Placements that mean the same compare equal then.
/// Local.
COHORT_EXPORT Placement normalized(const Layout& layout, const Placement& placement);

/// For messages, e.g. "{attn_dp, attn_cp} owing a sum over attn_tp".
COHORT_EXPORT std::string to_string(const Placement& placement);

}  // namespace cohort
