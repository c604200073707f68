#include "heap/shipped_tables.hpp"

#include <algorithm>

namespace cohort::heap {

Gpus ShippedTable::gpus() const {
  return {device, compute, driver, link};
}

/// What was measured of an operation serves the form with uneven parts too: the same bytes travel
/// the same way.
std::vector<PathRow> ShippedTable::rows() const {
  std::vector<PathRow> made;
  for (const ShippedPath& path : paths) {
    if (made.empty() || made.back().op != path.op) {
      made.push_back({path.op, 2, false, {}, Memory::cuda});
    }
    made.back().steps.push_back(path.step);
  }
  const std::size_t measured = made.size();
  for (std::size_t i = 0; i < measured; ++i) {
    const Op op = made[i].op;
    if (op != Op::all_gather && op != Op::reduce_scatter) continue;
    made.push_back(made[i]);
    made.back().op = op == Op::all_gather ? Op::all_gatherv : Op::reduce_scatterv;
  }
  return made;
}

std::vector<GridRow> ShippedTable::grids() const {
  std::vector<GridRow> made;
  for (const ShippedGrid& grid : steps) {
    if (made.empty() || made.back().family != grid.family) made.push_back({grid.family, 2, {}});
    made.back().steps.push_back(grid.step);
  }
  return made;
}

const ShippedTable* find_shipped_table(const Gpus& gpus) noexcept {
  const auto all = shipped_tables();
  const auto found = std::find_if(all.begin(), all.end(), [&](const ShippedTable& table) {
    return gpus.name == table.device && gpus.link == table.link;
  });
  return found == all.end() ? nullptr : &*found;
}

}  // namespace cohort::heap
