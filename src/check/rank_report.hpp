#pragma once

// What a rank of `cohort check` has found, as it tells the command: also when it fails half way.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "check/round_trip.hpp"

namespace cohort::check {

/// Between rank 0 and another rank.
struct RoundTrip {
  std::uint32_t other = 0;
  TripTimes spin;   ///< of a word that both look at
  TripTimes sleep;  ///< where each sleeps until it is woken

  friend bool operator==(const RoundTrip&, const RoundTrip&) = default;
};

struct RankReport {
  std::optional<double> join_seconds;    ///< nothing if it has not joined
  std::optional<std::uint32_t> node;     ///< memory node it is bound to
  std::optional<std::string> addresses;  ///< why it cannot reserve all arenas' addresses
  bool shares_memory = false;            ///< every rank's memory was mapped, written and read
  std::vector<RoundTrip> trips;          ///< of rank 0
  bool finished = false;

  friend bool operator==(const RankReport&, const RankReport&) = default;
};

/// As lines of text, and back. What cannot be read is left out. Pure.
std::string to_text(const RankReport& report);
RankReport parse_rank_report(std::string_view text);

}  // namespace cohort::check
