#pragma once

#include <iosfwd>
#include <span>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "faults/fault.hpp"

namespace cohort {

/// Name and meaning of each fault, as a table or as JSON.
void print_fault_list(std::span<const faults::Fault* const> all, bool json, std::ostream& output);

/// Replays as they come in: for people at once, as JSON in one document at the end.
class FaultsReport {
 public:
  FaultsReport(const faults::Setting& setting, bool json, std::ostream& output);

  /// Throws: Error{system} once nobody can read what is written.
  void add(const faults::Replay& replay);
  void finish();
  /// All replays so far as one JSON document: what `finish` prints with --json. Local.
  std::string document_text() const;
  /// Whether cohort did what it promises in every replay.
  bool kept() const noexcept;

 private:
  faults::Setting setting_;
  bool json_;
  std::ostream* output_;
  Stopwatch watch_;
  std::vector<faults::Replay> replays_;
};

}  // namespace cohort
