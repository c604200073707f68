#pragma once

#include <optional>

#include "rendezvous/stop_signals.hpp"

namespace cohort {

/// Ctrl-C and SIGTERM, for a command that waits for processes it has started: as long as this lives
/// they end no process, but the command's next wait. One at a time.
class Interruption {
 public:
  Interruption();
  ~Interruption();
  Interruption(const Interruption&) = delete;
  Interruption& operator=(const Interruption&) = delete;

  /// Readable once a signal has come; -1 where nobody waits for any. For polling with others.
  static int fd() noexcept;
  /// Whether one has come.
  static bool came() noexcept;
  /// Throws: Interrupted, if one has come.
  static void check();

 private:
  rendezvous::StopSignals signals_;
  std::optional<int> number_;
};

/// What a wait ends with when a signal came.
struct Interrupted {
  int number = 0;

  /// As shells say it: 130 after Ctrl-C, 143 after SIGTERM.
  int exit_code() const noexcept { return 128 + number; }
};

}  // namespace cohort
