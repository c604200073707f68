#include "base/log.hpp"

#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdlib>
#include <exception>
#include <string>

namespace cohort {

namespace {

constexpr std::array<std::string_view, 4> kLevelNames{"error", "warning", "info", "debug"};

thread_local std::optional<WorldRank> rank_of_thread;

void write_line(LogLevel level, std::string_view message) {
  std::string line = "cohort: ";
  if (rank_of_thread) line += "rank " + std::to_string(rank_of_thread->index()) + ": ";
  line += kLevelNames.at(static_cast<std::size_t>(level));
  line += ": ";
  line += message;
  line += '\n';
  // Nobody is left to be told if standard error itself cannot be written.
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, line.data(), line.size());
}

LogLevel level_from_environment() {
  const char* variable = std::getenv("COHORT_LOG");
  if (variable == nullptr) return LogLevel::warning;
  for (std::size_t i = 0; i < kLevelNames.size(); ++i) {
    if (kLevelNames.at(i) == variable) return static_cast<LogLevel>(i);
  }
  write_line(LogLevel::warning, "COHORT_LOG='" + std::string(variable) +
                                    "' is none of error, warning, info, debug: using warning");
  return LogLevel::warning;
}

}  // namespace

LogLevel log_level() noexcept {
  static const LogLevel level = level_from_environment();
  return level;
}

void set_log_rank(std::optional<WorldRank> rank) noexcept {
  rank_of_thread = rank;
}

void log(LogLevel level, std::string_view message) noexcept {
  if (level > log_level()) return;
  try {
    write_line(level, message);
  } catch (const std::exception&) {
    // Out of memory for one line: the log is the one thing that may be lost.
  }
}

}  // namespace cohort
