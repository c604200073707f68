#pragma once

#include <optional>

#include "base/unique_fd.hpp"

namespace cohort::rendezvous {

/// Catches SIGINT and SIGTERM as long as it lives, unless they were ignored. One at a time.
class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  /// Readable when a signal has come.
  int fd() const noexcept { return read_end_.get(); }
  /// The next signal that came, if any.
  std::optional<int> next();

 private:
  UniqueFd read_end_;
  UniqueFd write_end_;
};

}  // namespace cohort::rendezvous
