#pragma once

// Tables that come with cohort: measured once, on hardware that many have.

#include <span>
#include <string_view>
#include <vector>

#include <cohort/path_table.hpp>

namespace cohort::heap {

struct ShippedPath {
  Op op;
  std::uint32_t ranks;
  PathStep step;
};
struct ShippedGrid {
  GridFamily family;
  std::uint32_t ranks;
  GridStep step;
};

/// Steps of one operation or family, and of one group size, follow each other.
struct ShippedTable {
  const char* title;
  const char* device;
  const char* compute;
  const char* driver;
  GpuLink link;
  std::span<const ShippedPath> paths;
  std::span<const ShippedGrid> steps;

  Gpus gpus() const;
  std::vector<PathRow> rows() const;
  std::vector<GridRow> grids() const;
};

/// The one for ranks on such GPUs, null if there is none: name and link decide.
const ShippedTable* find_shipped_table(const Gpus& gpus) noexcept;

/// What scripts/tools/make_gpu_table.py wrote.
std::span<const ShippedTable> shipped_tables() noexcept;

}  // namespace cohort::heap
