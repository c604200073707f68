#pragma once

// The fault matrix as tables for people.

#include <cstddef>
#include <map>
#include <string>
#include <string_view>

#include "matrix/fault_case.hpp"
#include "matrix/run_case.hpp"

namespace cohort::matrix {

class Table {
 public:
  void add(const FaultCase& fault_case, const Outcome& outcome);
  std::size_t case_count() const noexcept { return case_count_; }
  std::size_t bad_count() const noexcept { return bad_count_; }
  /// One table of steps, one of messages.
  std::string markdown() const;

 private:
  struct Cell {
    std::map<std::string, std::size_t> ends;  ///< how many cases ended how
    std::size_t bad = 0;
    double slowest_ms = 0;
  };

  std::string part(bool messages) const;
  std::string text_of(const Step& step, Fault fault) const;

  std::map<std::pair<std::string_view, Fault>, Cell> cells_;
  std::size_t case_count_ = 0;
  std::size_t bad_count_ = 0;
};

/// `document` with what stands between the matrix's two marker lines replaced.
/// Throws: std::runtime_error if they are not there.
std::string with_table(const std::string& document, const std::string& table);

}  // namespace cohort::matrix
