#pragma once

// A fault that serving engines have in the field, and what was seen when it was replayed.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "faults/rank_processes.hpp"

namespace cohort::faults {

/// How it went, as a user would see it.
enum class Outcome {
  right,    ///< right results
  wrong,    ///< wrong results, and no error
  hang,     ///< ranks wait for ever; the watchdog ended them
  slow,     ///< right results by a slower way, and nobody is told
  refused,  ///< an error on every member of the call; the job lives on
  ended,    ///< the same error on every rank; the job has ended
  broken,   ///< something else
};
std::string_view to_string(Outcome outcome) noexcept;

/// What was seen in one run.
struct Observation {
  Outcome outcome = Outcome::broken;
  std::string text;
  /// Of the naive way: whether it failed. Of cohort's: whether it did what was promised.
  bool as_said = false;
  double seconds = 0;
};

struct Setting {
  std::uint32_t ranks = 4;  ///< even, 4 to kRanksMax
  double scale = 1;         ///< of every time limit
};

struct Fault {
  std::string_view name;
  std::string_view what;     ///< what goes wrong, as half a sentence
  std::string_view engines;  ///< what engines do, and the naive way does too
  std::string_view why;      ///< why it cannot happen here
  Observation (*naive)(const Setting&);
  Observation (*ours)(const Setting&);
};

/// The naive way's verdict, from what its ranks returned and where they were stuck. Pure.
Observation judge_naive(std::span<const RankEnd> ends);

/// A naive way's time limits: it has no deadlines, so a watchdog has.
Watchdog naive_watchdog(const Setting& setting);

/// Both verdicts on one fault, with their times.
struct Replay {
  const Fault* fault = nullptr;
  Observation naive;
  Observation ours;
  bool kept() const noexcept { return ours.as_said; }
};
Replay replay(const Fault& fault, const Setting& setting);

}  // namespace cohort::faults
