#pragma once

#include <optional>
#include <string_view>

#include <cohort/ids.hpp>

namespace cohort {

enum class LogLevel { error, warning, info, debug };

/// Lines up to this level are written: COHORT_LOG=error|warning|info|debug, else warning. Local.
LogLevel log_level() noexcept;

/// The rank that this thread's lines name from now on; nothing: no rank. Local.
void set_log_rank(std::optional<WorldRank> rank) noexcept;

/// Writes one line to standard error: "cohort: warning: message", "cohort: rank 2: info: message".
/// Local, thread safe; lines of several ranks do not mix, each is one write.
void log(LogLevel level, std::string_view message) noexcept;

}  // namespace cohort
