#include "tune_output.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <iomanip>
#include <ostream>

#include <nlohmann/json.hpp>

#include <cohort/version.hpp>

#include "base/wrapped.hpp"

namespace cohort {

namespace {

using Json = nlohmann::ordered_json;

constexpr double kRegretWanted = 0.05;

std::vector<Op> ops_served_by(Op measured) {
  switch (measured) {
    case Op::all_gather: return {measured, Op::all_gatherv};
    case Op::reduce_scatter: return {measured, Op::reduce_scatterv};
    case Op::all_to_all: return {measured, Op::all_to_allv};
    default: return {measured};
  }
}

std::string describe(const std::vector<PathStep>& steps) {
  std::string text;
  for (const PathStep& step : steps) {
    text += to_string(step.path);
    if (step.bytes_max == PathStep::kUnlimited) continue;
    text += " to " + std::to_string(step.bytes_max) + " bytes, then ";
  }
  return text;
}

std::string describe(const std::vector<GridStep>& steps) {
  std::string text;
  for (const GridStep& step : steps) {
    text += std::to_string(step.threads);
    if (step.lines_max == GridStep::kUnlimited) continue;
    text += " to " + std::to_string(step.lines_max) + " lines, then ";
  }
  return text;
}

/// Behind columns that take `indent`.
void print_wrapped(const std::string& text, std::size_t indent, std::ostream& output) {
  const auto lines = wrapped(text, kTextColumns - indent);
  for (std::size_t i = 0; i < lines.size(); ++i) {
    output << (i == 0 ? "" : std::string(indent, ' ')) << lines[i] << '\n';
  }
}

std::string percent(double part) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.1f %%", part * 100);
  return text.data();
}

Json measurements_of(const Tuned& tuned) {
  Json measurements = Json::array();
  for (const TunedRow& row : tuned.rows) {
    for (const PathTimes& times : row.times) {
      Json us = Json::object();
      for (std::size_t path = 0; path < kPathCount; ++path) {
        if (times.us[path]) us[std::string(to_string(static_cast<Path>(path)))] = *times.us[path];
      }
      measurements.push_back({{"op", to_string(row.row.op)},
                              {"ranks", row.row.ranks},
                              {"crowded", row.row.crowded},
                              {"bytes", times.bytes},
                              {"us", std::move(us)}});
    }
  }
  return measurements;
}

Json grid_measurements_of(const Tuned& tuned) {
  Json measurements = Json::array();
  for (const TunedGrid& grid : tuned.grids) {
    for (const GridTimes& times : grid.times) {
      Json us = Json::object();
      for (std::size_t i = 0; i < grid.threads.size(); ++i) {
        us[std::to_string(grid.threads[i])] = times.us[i];
      }
      measurements.push_back({{"family", to_string(grid.row.family)},
                              {"ranks", grid.row.ranks},
                              {"lines", times.lines},
                              {"us", std::move(us)}});
    }
  }
  return measurements;
}

void print_grids(const Tuned& tuned, std::ostream& output) {
  output << '\n'
         << std::left << std::setw(16) << "family" << std::setw(7) << "ranks" << std::setw(9)
         << "regret"
         << "threads of a block, by lines of 16 bytes\n";
  for (const TunedGrid& grid : tuned.grids) {
    output << std::setw(16) << to_string(grid.row.family) << std::setw(7) << grid.row.ranks
           << std::setw(9) << percent(grid.fit.worst_regret);
    print_wrapped(describe(grid.row.steps), 32, output);
  }
}

}  // namespace

PathTable table_of(const Tuned& tuned) {
  std::vector<PathRow> rows;
  for (const TunedRow& measured : tuned.rows) {
    for (const Op op : ops_served_by(measured.row.op)) {
      rows.push_back(measured.row);
      rows.back().op = op;
    }
  }
  if (!tuned.gpus) return {std::move(rows), this_machine(), COHORT_VERSION};
  GpuMeasures measures{*tuned.gpus, {}};
  for (const TunedGrid& grid : tuned.grids) measures.grids.push_back(grid.row);
  return {std::move(rows), this_machine(), COHORT_VERSION, std::move(measures)};
}

std::string tune_document(const Tuned& tuned, bool compact) {
  Json document = Json::parse(table_of(tuned).to_json());
  document["measurements"] = measurements_of(tuned);
  if (tuned.gpus) document["grid_measurements"] = grid_measurements_of(tuned);
  return compact ? document.dump() : document.dump(1);
}

void print_tuned(const Tuned& tuned, std::ostream& output) {
  print_wrapped("Measured on " + to_string(this_machine()) +
                    (tuned.gpus ? "; " + to_string(*tuned.gpus) : "") + ".",
                0, output);
  output << '\n'
         << std::left << std::setw(16) << "operation" << std::setw(7) << "ranks" << std::setw(9)
         << "crowded" << std::setw(9) << "regret"
         << "paths\n";
  bool regrets = false;
  for (const TunedRow& measured : tuned.rows) {
    regrets = regrets || measured.fit.worst_regret > kRegretWanted;
    output << std::setw(16) << to_string(measured.row.op) << std::setw(7) << measured.row.ranks
           << std::setw(9) << (measured.row.crowded ? "yes" : "no") << std::setw(9)
           << percent(measured.fit.worst_regret);
    print_wrapped(describe(measured.row.steps), 41, output);
  }
  if (!tuned.grids.empty()) print_grids(tuned, output);
  output << "\nregret: how much longer than the best the chosen one took, at the worst size.\n";
  if (regrets) {
    output << "Some are above 5 %: something else ran on this machine, or two paths are\n"
              "equally fast there. Measure again when it is quiet.\n";
  }
}

}  // namespace cohort
