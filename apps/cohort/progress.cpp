#include "progress.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <ostream>
#include <vector>

#include "base/wrapped.hpp"

namespace cohort {

namespace {

// The whole line again, and the cursor at its end.
constexpr const char* kErase = "\r\x1b[K";
constexpr std::chrono::milliseconds kInterval{100};
constexpr double kTellingSeconds = 0.5;

std::string format(const char* pattern, double value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), pattern, value);
  return text.data();
}

/// "0:07", "12:30", "2:05:00".
std::string duration_text(double seconds) {
  constexpr double kMost = 99 * 3600.0;
  const auto all = static_cast<unsigned>(std::ceil(std::min(seconds, kMost)));
  std::array<char, 32> text{};
  if (all >= 3600) {
    std::snprintf(text.data(), text.size(), "%u:%02u:%02u", all / 3600, all / 60 % 60, all % 60);
  } else {
    std::snprintf(text.data(), text.size(), "%u:%02u", all / 60, all % 60);
  }
  return text.data();
}

}  // namespace

std::string progress_text(const ProgressState& state, std::size_t columns) {
  std::vector<std::string> parts;
  parts.emplace_back(state.what);
  const std::size_t done = state.total == 0 ? state.done : std::min(state.done, state.total);
  if (state.total != 0) {
    parts.push_back(std::to_string(done * 100 / state.total) + " %");
    parts.push_back(std::to_string(done) + " of " + std::to_string(state.total) + " " +
                    std::string(state.unit));
  } else {
    parts.push_back(std::to_string(done) + " " + std::string(state.unit));
  }
  if (state.elapsed_s >= kTellingSeconds && done > 0) {
    const double rate = static_cast<double>(done) / state.elapsed_s;
    parts.push_back(format(rate < 10 ? "%.1f/s" : "%.0f/s", rate));
    if (state.total > done) {
      parts.push_back(duration_text(static_cast<double>(state.total - done) / rate) + " left");
    }
  }
  if (!state.detail.empty()) parts.emplace_back(state.detail);
  std::string line;
  for (const std::string& part : parts) {
    if (line.size() + 2 + part.size() > columns) break;
    line += (line.empty() ? "" : "  ") + part;
  }
  return line;
}

Progress::Progress(std::ostream& errors, std::string_view what, std::string_view unit,
                   const Verbosity& verbosity)
    : Progress(errors, what, unit, verbosity, terminal_of(errors)) {}

Progress::Progress(std::ostream& errors, std::string_view what, std::string_view unit,
                   const Verbosity& verbosity, const Terminal& terminal)
    : errors_(&errors),
      what_(what),
      unit_(unit),
      verbosity_(verbosity),
      live_(terminal.live && !verbosity.quiet && !verbosity.verbose) {}

Progress::~Progress() {
  clear();
}

void Progress::begin(std::string_view step) {
  step_ = step;
  if (verbosity_.verbose) *errors_ << std::string(what_) + ": " + step_ + "\n" << std::flush;
  show(/*at_once=*/false);
}

void Progress::advance() {
  set(done_ + 1, total_);
}

void Progress::set(std::size_t done, std::size_t total) {
  done_ = done;
  total_ = total;
  show(/*at_once=*/false);
}

void Progress::note(std::string_view text) {
  if (verbosity_.quiet) return;
  clear();
  *errors_ << what_ << ": " << text << '\n' << std::flush;
  show(/*at_once=*/true);
}

void Progress::end() {
  clear();
  if (ended_ || !verbosity_.verbose) return;
  ended_ = true;
  const std::chrono::duration<double> elapsed = Clock::now() - began_;
  // In one piece, so that no other rank's line comes between its parts.
  std::string line(what_);
  line += ": " + std::to_string(done_) + " ";
  line += unit_;
  *errors_ << line + " in " + format("%.2f", elapsed.count()) + " s\n" << std::flush;
}

void Progress::show(bool at_once) {
  if (!live_) return;
  const auto now = Clock::now();
  if (now < next_show_ && !at_once) return;
  next_show_ = now + kInterval;
  const std::chrono::duration<double> elapsed = now - began_;
  // One column less: a line that is full moves the cursor of some terminals on.
  *errors_ << kErase
           << progress_text({what_, unit_, step_, done_, total_, elapsed.count()}, kTextColumns - 1)
           << std::flush;
  shown_ = true;
}

void Progress::clear() {
  if (!shown_) return;
  *errors_ << kErase << std::flush;
  shown_ = false;
}

}  // namespace cohort
