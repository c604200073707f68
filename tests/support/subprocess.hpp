#pragma once

// Runs a program as a user would: its own process, its output caught.

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/unique_fd.hpp"

namespace cohort::test {

struct Finished {
  int exit_code = -1;  ///< -1 if a signal ended it or it was still running at the time limit
  int signal = 0;
  std::string output;
  std::string errors;
};

class Subprocess {
 public:
  using Variables = std::vector<std::pair<std::string, std::string>>;

  /// Starts `arguments[0]` with this process's environment and `variables`, in `directory` unless
  /// that is empty. Signals that a test runner ignores have their default effect again.
  explicit Subprocess(const std::vector<std::string>& arguments, const Variables& variables = {},
                      const std::string& directory = {});
  /// Kills what still runs.
  ~Subprocess();
  Subprocess(const Subprocess&) = delete;
  Subprocess& operator=(const Subprocess&) = delete;

  pid_t pid() const noexcept { return pid_; }
  void signal(int number) const;
  /// Reads standard output until it contains `text`; false at the time limit or its end.
  bool wait_for_output(const std::string& text, std::chrono::seconds limit);
  /// Waits for the end of the process and of its output.
  Finished wait(std::chrono::seconds limit);

 private:
  bool read_some(std::chrono::milliseconds limit);

  pid_t pid_ = -1;
  UniqueFd output_;
  UniqueFd errors_;
  Finished finished_;
};

/// Processes whose environment holds `name=value`, zombies left out.
std::vector<pid_t> processes_with_variable(const std::string& name, const std::string& value);

/// A time limit for tests, stretched like all deadlines by COHORT_DEADLINE_SCALE.
std::chrono::seconds patience(std::chrono::seconds limit);

}  // namespace cohort::test
