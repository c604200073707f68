#include "faults/fault.hpp"

#include <algorithm>

#include <cohort/error.hpp>

#include "base/bytes.hpp"
#include "base/clock.hpp"

namespace cohort::faults {
namespace {

std::chrono::milliseconds scaled(std::chrono::milliseconds limit, double scale) {
  return std::chrono::milliseconds(
      static_cast<std::chrono::milliseconds::rep>(static_cast<double>(limit.count()) * scale));
}

bool any_of_kind(std::span<const RankEnd> ends, RankEnd::Kind kind) {
  return std::any_of(ends.begin(), ends.end(), [=](const RankEnd& e) { return e.kind == kind; });
}

void append(std::string& text, const std::string& more) {
  if (more.empty()) return;
  text += (text.empty() ? "" : "; ") + more;
}

std::string wrong_text(const RankEnd& end) {
  return end.wrong;
}

std::string death_text(const RankEnd& end) {
  if (end.kind != RankEnd::Kind::died) return "";
  return end.signal != 0 ? "died of signal " + std::to_string(end.signal) : "left";
}

std::string hang_text(const RankEnd& end) {
  return end.kind == RankEnd::Kind::hung ? "stuck in " + end.doing : "";
}

std::string error_text(const RankEnd& end) {
  return end.error ? end.error->what() : "";
}

std::string copied_text(const RankEnd& end) {
  return end.copied_bytes == 0 ? "" : "copied " + format_bytes(end.copied_bytes);
}

std::string said_text(const RankEnd& end) {
  return end.said;
}

Observation timed(Observation (*run)(const Setting&), const Setting& setting) {
  const Stopwatch watch;
  Observation seen;
  try {
    seen = run(setting);
  } catch (const Error& error) {
    seen = {.outcome = Outcome::broken, .text = error.what()};
  }
  seen.seconds = watch.seconds();
  return seen;
}

}  // namespace

std::string_view to_string(Outcome outcome) noexcept {
  switch (outcome) {
    case Outcome::right: return "right";
    case Outcome::wrong: return "wrong";
    case Outcome::hang: return "hang";
    case Outcome::slow: return "slow";
    case Outcome::refused: return "refused";
    case Outcome::ended: return "ended";
    case Outcome::broken: return "broken";
  }
  return "";
}

Observation judge_naive(std::span<const RankEnd> ends) {
  Observation seen;
  append(seen.text, by_text(ends, wrong_text));
  append(seen.text, by_text(ends, death_text));
  append(seen.text, by_text(ends, hang_text));
  append(seen.text, by_text(ends, error_text));
  const bool is_wrong =
      std::any_of(ends.begin(), ends.end(), [](const RankEnd& e) { return e.wrong_values != 0; });
  const bool has_error =
      std::any_of(ends.begin(), ends.end(), [](const RankEnd& e) { return e.error.has_value(); });
  if (is_wrong) {
    seen.outcome = Outcome::wrong;
  } else if (any_of_kind(ends, RankEnd::Kind::hung)) {
    seen.outcome = Outcome::hang;
  } else if (has_error || any_of_kind(ends, RankEnd::Kind::died)) {
    seen.outcome = Outcome::broken;
  } else {
    const std::string copied = by_text(ends, copied_text);
    const std::string said = by_text(ends, said_text);
    seen.outcome = copied.empty() ? Outcome::right : Outcome::slow;
    seen.text = "right results; " + (said.empty() ? copied : said);
    if (!copied.empty()) seen.text += "; and nobody was told";
  }
  seen.as_said = seen.outcome == Outcome::wrong || seen.outcome == Outcome::hang ||
                 seen.outcome == Outcome::slow;
  return seen;
}

Watchdog naive_watchdog(const Setting& setting) {
  using namespace std::chrono_literals;
  return {.idle = scaled(1000ms, setting.scale), .total = scaled(20s, setting.scale)};
}

Replay replay(const Fault& fault, const Setting& setting) {
  return {
      .fault = &fault, .naive = timed(fault.naive, setting), .ours = timed(fault.ours, setting)};
}

}  // namespace cohort::faults
