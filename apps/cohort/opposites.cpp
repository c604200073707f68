#include "opposites.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <optional>
#include <string_view>

namespace cohort {

namespace {

struct Pair {
  std::string_view one;
  std::string_view other;
};

/// Whichever stands higher counts alone.
constexpr std::array kOpposites{
    Pair{"quiet", "verbose"},   Pair{"path", "path-table"},
    Pair{"prompt", "prompts"},  Pair{"symmetric", "enable-symm-mem"},
    Pair{"attn-dp", "dp-size"}, Pair{"list", "report"},
};

/// The first, where it stands higher, leaves nothing for the second to say; not the other way
/// round. A pasted command states a whole layout: what it does not name is 1.
constexpr std::array kReplaced{
    Pair{"path", "any-machine"},
    Pair{"from", "tp"},
    Pair{"from", "attn-dp"},
    Pair{"from", "attn-cp"},
    Pair{"from", "ep"},
    Pair{"from", "moe-dp"},
    Pair{"from", "pp"},
    Pair{"from", "dcp"},
    Pair{"from", "ranks-per-host"},
    Pair{"from", "dp-size"},
    Pair{"from", "enable-dp-attention"},
};

class Ranking {
 public:
  explicit Ranking(std::span<const GivenFlag> given) : given_(given) {}

  void drop_lower(std::string_view winner, std::string_view loser) {
    const GivenFlag* const high = find(winner);
    const GivenFlag* const low = find(loser);
    if (high != nullptr && low != nullptr && high->standing > low->standing) drop(loser);
  }

  /// --ranks is the product of --tp and --pp: what stands lowest goes, until it is.
  void settle_ranks() {
    while (ranks_contradict()) {
      const GivenFlag* lowest = nullptr;
      const GivenFlag* highest = nullptr;
      for (const std::string_view name : {"ranks", "tp", "pp"}) {
        const GivenFlag* const flag = find(name);
        if (flag == nullptr) continue;
        if (lowest == nullptr || flag->standing < lowest->standing) lowest = flag;
        if (highest == nullptr || flag->standing > highest->standing) highest = flag;
      }
      if (lowest->standing == highest->standing) return;
      drop(lowest->name);
    }
  }

  std::vector<std::string> dropped;

 private:
  bool is_dropped(std::string_view name) const {
    return std::ranges::find(dropped, name) != dropped.end();
  }

  void drop(std::string_view name) {
    if (!is_dropped(name)) dropped.emplace_back(name);
  }

  /// Null if it is not given, or does not count.
  const GivenFlag* find(std::string_view name) const {
    const auto found = std::ranges::find(given_, name, &GivenFlag::name);
    return found == given_.end() || is_dropped(name) ? nullptr : &*found;
  }

  /// Nothing for what is no count; the command will say so.
  std::optional<std::uint64_t> count_of(std::string_view name) const {
    const GivenFlag* const flag = find(name);
    if (flag == nullptr) return std::nullopt;
    std::uint32_t count = 0;
    const char* const end = flag->value.data() + flag->value.size();
    const auto [stop, error] = std::from_chars(flag->value.data(), end, count);
    if (error != std::errc{} || stop != end || count == 0) return std::nullopt;
    return count;
  }

  bool ranks_contradict() const {
    const auto ranks = count_of("ranks");
    const auto tp = count_of("tp");
    const auto pp = count_of("pp");
    if (!ranks) return false;
    if (tp) return *ranks != *tp * pp.value_or(1);
    return pp && *ranks % *pp != 0;  // without --tp the stages share the ranks
  }

  std::span<const GivenFlag> given_;
};

}  // namespace

std::vector<std::string> outranked(std::span<const GivenFlag> given) {
  Ranking ranking(given);
  for (const Pair& pair : kReplaced) ranking.drop_lower(pair.one, pair.other);
  for (const Pair& pair : kOpposites) {
    ranking.drop_lower(pair.one, pair.other);
    ranking.drop_lower(pair.other, pair.one);
  }
  ranking.settle_ranks();
  return ranking.dropped;
}

}  // namespace cohort
