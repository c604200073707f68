#pragma once

#include <iosfwd>
#include <vector>

#include "check/row.hpp"

namespace cohort {

/// A block of lines for each row, at most 100 columns wide, and the outcome in one sentence.
void print_rows(const std::vector<check::Row>& rows, const check::Wanted& wanted,
                std::ostream& output);

/// One JSON document: {"schema", "version", "ok", "rows": [{"name", "value", "status", "meaning",
/// "remedy"}]}.
void print_rows_as_json(const std::vector<check::Row>& rows, std::ostream& output);

/// Whether ranks are possible: no row is a problem.
bool ranks_are_possible(const std::vector<check::Row>& rows) noexcept;

}  // namespace cohort
