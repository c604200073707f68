#pragma once

namespace cohort {

/// Thrown by a command whose exit code is not that of an Error: it has printed what there is to
/// say, e.g. because the ranks it started ended with this code.
struct ExitStatus {
  int code = 0;
};

}  // namespace cohort
