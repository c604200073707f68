#pragma once

// Grids of path tables: whether they make sense, and their text.

#include <string>
#include <vector>

#include <cohort/path_table.hpp>

namespace cohort::heap {

/// By family and group size. Throws: Error{usage} naming the grid that makes no sense.
std::vector<GridRow> checked_grids(std::vector<GridRow> grids);

/// "grid of move, 2 ranks: 64 threads to 128 lines, then 512 threads".
std::string grid_line(const GridRow& row);

}  // namespace cohort::heap
