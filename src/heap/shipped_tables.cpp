#include "heap/shipped_tables.hpp"

#include <algorithm>

namespace cohort::heap {

Gpus ShippedTable::gpus() const {
  return {device, compute, driver, link};
}

std::vector<PathRow> ShippedTable::rows() const {
  std::vector<PathRow> made;
  for (const ShippedPath& path : paths) {
    if (made.empty() || made.back().op != path.op || made.back().ranks != path.ranks) {
      made.push_back({path.op, path.ranks, false, {}, Memory::cuda});
    }
    made.back().steps.push_back(path.step);
  }
  return made;
}

std::vector<GridRow> ShippedTable::grids() const {
  std::vector<GridRow> made;
  for (const ShippedGrid& grid : steps) {
    if (made.empty() || made.back().family != grid.family || made.back().ranks != grid.ranks) {
      made.push_back({grid.family, grid.ranks, {}});
    }
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
