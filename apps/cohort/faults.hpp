#pragma once

#include <iosfwd>
#include <span>
#include <string>
#include <vector>

#include "faults/fault.hpp"
#include "verbosity.hpp"

namespace CLI {
class App;
}

namespace cohort {

/// What `cohort faults` was asked for.
struct FaultsOptions {
  std::vector<std::string> only = {};  ///< names; empty: all
  std::uint32_t ranks = 4;
  bool list = false;
  Verbosity verbosity = {};
  bool json = false;
  std::string report = {};  ///< file of the page; empty: none
};

/// Adds `faults`: replays faults of the field, the naive way and cohort's, and prints both verdicts
/// to `output`. The streams must outlive the parse. Starts ranks as processes. Local.
void add_faults_command(CLI::App& app, std::ostream& output, std::ostream& errors);

/// The same for any faults. Throws: Error{usage} for names or rank counts that do not exist,
/// ExitStatus{1} if cohort did not do what it promises.
void run_faults(std::span<const faults::Fault> all, const FaultsOptions& options,
                std::ostream& output, std::ostream& errors);

}  // namespace cohort
