#pragma once

// How far long work is, on standard error: on a terminal one line that is written over and gone at
// the end; elsewhere nothing, unless every step is asked for.

#include <chrono>
#include <cstddef>
#include <iosfwd>
#include <string>
#include <string_view>

#include "base/clock.hpp"
#include "terminal.hpp"
#include "verbosity.hpp"

namespace cohort {

struct ProgressState {
  std::string_view what;    ///< "loading the model"
  std::string_view unit;    ///< "tensors"
  std::string_view detail;  ///< what is being done now, or nothing
  std::size_t done = 0;
  std::size_t total = 0;  ///< 0: not known
  double elapsed_s = 0;
};

/// "loading the model  45 %  122 of 272 tensors  310/s  0:01 left", at most `columns` wide. What is
/// too much for them is left out from the end. Rate and time left are said from half a second on,
/// when they mean something. Pure.
std::string progress_text(const ProgressState& state, std::size_t columns);

class Progress {
 public:
  /// `what` and `unit` as in ProgressState; they and `errors` must outlive this.
  Progress(std::ostream& errors, std::string_view what, std::string_view unit,
           const Verbosity& verbosity);
  Progress(std::ostream& errors, std::string_view what, std::string_view unit,
           const Verbosity& verbosity, const Terminal& terminal);
  /// Takes the line away.
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// How much there is to do; more may come later.
  void expect(std::size_t units) noexcept { total_ += units; }
  /// The next piece of work. With --verbose a line "what: step".
  void begin(std::string_view step);
  /// Another unit is done.
  void advance();
  /// So many of so many are done.
  void set(std::size_t done, std::size_t total);
  /// A line that stays: "what: text". Not with --quiet.
  void note(std::string_view text);
  /// Takes the line away, until there is something new to show.
  void clear();
  /// Takes the line away; with --verbose says how long all took.
  void end();

 private:
  void show(bool at_once);

  std::ostream* errors_;
  std::string_view what_;
  std::string_view unit_;
  Verbosity verbosity_;
  bool live_;
  bool shown_ = false;
  bool ended_ = false;
  std::string step_;
  std::size_t done_ = 0;
  std::size_t total_ = 0;
  Clock::time_point began_ = Clock::now();
  Clock::time_point next_show_ = Clock::time_point::min();
};

}  // namespace cohort
