#pragma once

// A decode step of layer boundaries, measured: ranks are threads of this process, and take the row
// counts in turns.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <cohort/dtype.hpp>
#include <cohort/layer_communicator.hpp>
#include <cohort/layout.hpp>
#include <cohort/memory.hpp>
#include <cohort/path_table.hpp>

#include "bench_run.hpp"

namespace cohort::bench {

struct LayerOptions {
  LayoutSizes sizes{.tp = 2, .attn_dp = 2};
  Memory memory = Memory::host;
  DType dtype = DType::bf16;
  std::size_t hidden = 7168;
  std::vector<std::size_t> rows;  ///< of the whole batch
  std::uint32_t layers = 16;
  bool norm = false;  ///< residual and norm behind both sums
  std::uint32_t rounds = 5;
  double seconds = 0.05;  ///< of one round at one row count
  PathTable paths{};
};

/// The calls of one layer on a rank: those that the layout needs, in order.
struct LayerCall {
  std::string group;
  std::string op;
  std::size_t bytes = 0;  ///< that this call's path is chosen by
  std::string path;
  std::string reason;  ///< why that path
};

struct LayerRow {
  std::size_t rows = 0;
  std::vector<LayerCall> calls;  ///< of the first rank
  Times step;                    ///< us of a step of all layers
  /// The same without a graph, each call put into the stream by itself; no calls on host memory.
  Times launched;
};

struct LayerMeasurement {
  LayerOptions options;
  std::vector<LayerRow> rows;
};

/// Rows of the batch by replica: as equal as can be, the first ones with one more. Pure.
BatchRows even_batch(const Layout& layout, std::size_t rows);

/// Starts the ranks, checks every row of every boundary at every row count, then times.
/// Rounds are what `progress` counts.
/// Throws: Error{mismatch} for a wrong result, Error as the ranks do.
LayerMeasurement measure_layers(const LayerOptions& options, Progress& progress);

}  // namespace cohort::bench
