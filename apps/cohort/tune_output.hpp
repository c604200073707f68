#pragma once

// What `tune` found, as a table of paths, as a document and for people.

#include <iosfwd>
#include <optional>
#include <string>
#include <vector>

#include <cohort/path_table.hpp>

#include "tune_fit.hpp"

namespace cohort {

/// One row of the table, with what it was made from.
struct TunedRow {
  PathRow row;
  FittedSteps fit;
  std::vector<PathTimes> times;
};

/// One grid of GPUs, with what it was made from.
struct TunedGrid {
  GridRow row;
  FittedGrid fit;
  std::vector<GridTimes> times;
  std::vector<std::uint32_t> threads;  ///< that the times are by
};

struct Tuned {
  std::vector<TunedRow> rows;
  std::vector<TunedGrid> grids;
  std::optional<Gpus> gpus;  ///< of rows and grids measured on GPUs
};

/// The table that `--path-table` reads. Rows of v-forms are those of the even ones: they move the
/// same bytes the same way. Pure, but for the machine's name.
PathTable table_of(const Tuned& tuned);

/// One JSON document: the table and its measurements.
std::string tune_document(const Tuned& tuned, bool compact);

void print_tuned(const Tuned& tuned, std::ostream& output);

}  // namespace cohort
