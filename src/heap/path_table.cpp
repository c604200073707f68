#include <algorithm>
#include <array>
#include <tuple>
#include <utility>

#include <cohort/error.hpp>
#include <cohort/path_table.hpp>
#include <cohort/version.hpp>

#include "backend/cuda/channel_map.hpp"
#include "heap/arena_layout.hpp"
#include "heap/launch_grid.hpp"
#include "heap/shipped_tables.hpp"

namespace cohort {

struct PathTable::Data {
  std::vector<PathRow> rows;  // by memory, operation, crowding and ranks
  std::array<std::array<std::span<const PathRow>, kOpCount>, kMemoryCount> rows_of{};
  std::optional<Path> pin;
  std::optional<Machine> machine;
  std::vector<GridRow> grids;  // by family and ranks
  std::optional<Gpus> gpus;
  std::string shipped;  // what it is for, of a table that comes with cohort
  std::string version = COHORT_VERSION;
  bool measures_gpus = false;  // else its rows for them are the built-in ones, and not its to tell

  Data(std::vector<PathRow> of, std::optional<Path> pinned_path, std::optional<Machine> on)
      : rows(std::move(of)), pin(pinned_path), machine(std::move(on)) {
    for (auto begin = rows.begin(); begin != rows.end();) {
      const auto end = std::find_if(begin, rows.end(), [&](const PathRow& row) {
        return row.op != begin->op || row.memory != begin->memory;
      });
      rows_of[static_cast<std::size_t>(begin->memory)][static_cast<std::size_t>(begin->op)] = {
          begin, end};
      begin = end;
    }
  }
  Data(const Data&) = delete;
  Data& operator=(const Data&) = delete;
};

namespace {

constexpr std::size_t kRowsMax = 4096;
constexpr std::size_t kStepsMax = 16;
/// Of a part; agreed bytes are never less than the largest part of any member.
constexpr std::size_t kFlaggedBytesMax = cuda::kFlagLines * sizeof(std::uint64_t);

std::string describe_row(const PathRow& row) {
  return std::string(to_string(row.op)) + ", " + std::to_string(row.ranks) + " ranks" +
         (row.crowded ? ", crowded" : "") + (row.memory == Memory::cuda ? ", cuda" : "");
}

[[noreturn]] void refuse(const PathRow& row, const std::string& why) {
  throw Error(ErrorCode::usage, "path table, row of " + describe_row(row) + ": " + why,
              std::nullopt, "path table");
}

bool has_symmetric_kernels(Op op) noexcept {
  return op == Op::all_reduce || op == Op::all_gather || op == Op::reduce_scatter;
}

bool is_of_nccl(Op op) noexcept {
  return has_symmetric_kernels(op) || op == Op::broadcast || op == Op::all_to_all;
}

void check(const PathRow& row) {
  if (static_cast<std::size_t>(row.op) >= kOpCount) refuse(row, "there is no such operation");
  if (row.op == Op::recv) refuse(row, "recv takes the path of its send");
  if (row.ranks < 2) refuse(row, "a group of fewer than 2 ranks has no choice");
  if (row.steps.empty() || row.steps.size() > kStepsMax) {
    refuse(row, "it has " + std::to_string(row.steps.size()) + " paths, 1 to " +
                    std::to_string(kStepsMax) + " are wanted");
  }
  for (std::size_t i = 0; i < row.steps.size(); ++i) {
    const PathStep& step = row.steps[i];
    if (step.path == Path::local) refuse(row, "path local serves groups of one rank only");
    if (memory_of(step.path) != row.memory) {
      refuse(row, "path " + std::string(to_string(step.path)) + " is none for memory " +
                      std::string(to_string(row.memory)));
    }
    if (step.path == Path::gpu_ll && step.bytes_max > kFlaggedBytesMax) {
      refuse(row, "gpu_ll takes at most " + std::to_string(kFlaggedBytesMax) + " bytes");
    }
    if (step.path == Path::gpu_two_shot && row.op != Op::all_reduce) {
      refuse(row, "gpu_two_shot is a path of all_reduce alone");
    }
    if (step.path == Path::nccl_symmetric && !has_symmetric_kernels(row.op)) {
      refuse(row, "nccl_symmetric is a path of all_reduce, all_gather and reduce_scatter alone");
    }
    if (step.path == Path::nccl_plain && !is_of_nccl(row.op)) {
      refuse(row, "NCCL has no such operation");
    }
    if (step.path == Path::host_inline && step.bytes_max > heap::kInlineBytesMax) {
      refuse(row, "host_inline takes at most " + std::to_string(heap::kInlineBytesMax) + " bytes");
    }
    if (i > 0 && step.bytes_max <= row.steps[i - 1].bytes_max) {
      refuse(row, "bytes_max must grow from path to path");
    }
  }
  if (row.steps.back().bytes_max != PathStep::kUnlimited) {
    refuse(row, "the last path must take all other sizes: no bytes_max");
  }
}

auto order_of(const PathRow& row) {
  return std::tuple(row.memory, row.op, row.crowded, row.ranks);
}

/// An inline operand is written once more by its owner, into lines that its peers' caches hold,
/// but saves them a look at other lines. A message that travelled with its header also leaves its
/// entry free before anybody receives it.
std::size_t built_in_inline_bytes(Op op) {
  return op == Op::send ? 4 * 1024 : 256;
}

std::vector<PathRow> built_in_rows() {
  std::vector<PathRow> rows;
  for (std::size_t i = 0; i < kOpCount; ++i) {
    const Op op = static_cast<Op>(i);
    if (op == Op::recv) continue;
    const std::size_t inline_bytes = built_in_inline_bytes(op);
    static_assert(heap::kInlineBytesMax >= 4 * 1024);
    rows.push_back({op, 2, false, {{Path::host_inline, inline_bytes}, {Path::host_direct}}});
  }
  return rows;
}

/// On GPUs flags in the data win a little while a call is all latency. With more members, pushing
/// whole operands to everybody costs more than a second exchange sooner.
std::vector<PathRow> built_in_gpu_rows() {
  constexpr std::size_t kFlagged = 1024;
  constexpr std::size_t kOneShot = 1024 * 1024;  // that a rank receives
  std::vector<PathRow> rows;
  for (std::size_t i = 0; i < kOpCount; ++i) {
    const Op op = static_cast<Op>(i);
    if (op == Op::recv) continue;
    rows.push_back({op, 2, false, {{Path::gpu_ll, kFlagged}, {Path::gpu_lamport}}, Memory::cuda});
    for (std::uint32_t ranks = 3; op == Op::all_reduce && ranks <= 16; ++ranks) {
      rows.push_back({op,
                      ranks,
                      false,
                      {{Path::gpu_ll, kFlagged},
                       {Path::gpu_lamport, kOneShot / (ranks - 1)},
                       {Path::gpu_two_shot}},
                      Memory::cuda});
    }
  }
  return rows;
}

std::vector<PathRow> all_built_in_rows() {
  std::vector<PathRow> rows = built_in_rows();
  for (PathRow& row : built_in_gpu_rows()) rows.push_back(std::move(row));
  return rows;
}

std::vector<PathStep> pinned_steps(Path path, Op op) {
  if (path == Path::host_inline) {
    return {{Path::host_inline, heap::kInlineBytesMax}, {Path::host_direct}};
  }
  if (path == Path::gpu_ll) return {{Path::gpu_ll, kFlaggedBytesMax}, {Path::gpu_lamport}};
  if (path == Path::gpu_two_shot && op != Op::all_reduce) return {{Path::gpu_lamport}};
  return {{path}};
}

/// Plans of the other kind of memory are refused with a pinned path; their rows are the built-in
/// ones.
std::vector<PathRow> pinned_rows(Path path) {
  const Memory memory = *memory_of(path);
  std::vector<PathRow> rows = memory == Memory::host ? std::vector<PathRow>() : built_in_rows();
  for (std::size_t i = 0; i < kOpCount; ++i) {
    const Op op = static_cast<Op>(i);
    if (op != Op::recv) rows.push_back({op, 2, false, pinned_steps(path, op), memory});
  }
  if (memory == Memory::cuda) return rows;
  for (PathRow& row : built_in_gpu_rows()) rows.push_back(std::move(row));
  return rows;
}

bool has_rows_of(std::span<const PathRow> rows, Memory memory) {
  return std::any_of(rows.begin(), rows.end(),
                     [memory](const PathRow& row) { return row.memory == memory; });
}

}  // namespace

std::optional<Memory> memory_of(Path path) noexcept {
  switch (path) {
    case Path::local: return std::nullopt;
    case Path::host_inline:
    case Path::host_direct:
    case Path::host_staged: return Memory::host;
    case Path::gpu_ll:
    case Path::gpu_lamport:
    case Path::gpu_two_shot:
    case Path::nccl_symmetric:
    case Path::nccl_plain: return Memory::cuda;
  }
  return std::nullopt;
}

PathTable::PathTable(std::shared_ptr<const Data> data) : data_(std::move(data)) {}

PathTable::PathTable() {
  static const auto built_in =
      std::make_shared<const Data>(all_built_in_rows(), std::nullopt, std::nullopt);
  data_ = built_in;
}

PathTable::PathTable(std::vector<PathRow> rows, Machine machine, std::string version)
    : data_(measured(std::move(rows), std::move(machine), std::move(version))) {}

PathTable::PathTable(std::vector<PathRow> rows, Machine machine, std::string version,
                     GpuMeasures measures) {
  const auto data = measured(std::move(rows), std::move(machine), std::move(version));
  data->grids = heap::checked_grids(std::move(measures.grids));
  data->gpus = std::move(measures.gpus);
  data->measures_gpus = true;
  data_ = data;
}

std::shared_ptr<PathTable::Data> PathTable::measured(std::vector<PathRow> rows, Machine machine,
                                                     std::string version) {
  if (rows.size() > kRowsMax) {
    throw Error(ErrorCode::usage, "path table: more than " + std::to_string(kRowsMax) + " rows",
                std::nullopt, "path table");
  }
  for (const PathRow& row : rows) check(row);
  const std::vector<PathRow> given = rows;
  for (PathRow& row : all_built_in_rows()) {
    const auto same = [&](const PathRow& other) {
      return other.op == row.op && other.memory == row.memory;
    };
    if (std::none_of(given.begin(), given.end(), same)) rows.push_back(std::move(row));
  }
  std::sort(rows.begin(), rows.end(), [](const PathRow& left, const PathRow& right) {
    return order_of(left) < order_of(right);
  });
  const auto twice = std::adjacent_find(
      rows.begin(), rows.end(),
      [](const PathRow& left, const PathRow& right) { return order_of(left) == order_of(right); });
  if (twice != rows.end()) refuse(*twice, "it is there twice");
  auto data = std::make_shared<Data>(std::move(rows), std::nullopt, std::move(machine));
  data->version = std::move(version);
  data->measures_gpus = has_rows_of(given, Memory::cuda);
  return data;
}

PathTable PathTable::pinned(Path path) {
  if (path == Path::local) {
    throw Error(ErrorCode::usage, "path local serves groups of one rank only: it cannot be pinned",
                std::nullopt, "path table");
  }
  return PathTable(std::make_shared<const Data>(pinned_rows(path), path, std::nullopt));
}

PathTable PathTable::pinned(Path path, std::vector<GridRow> grids) {
  if (memory_of(path) != Memory::cuda) {
    throw Error(ErrorCode::usage,
                "path " + std::string(to_string(path)) + " has no grid: it is none of GPUs",
                std::nullopt, "path table");
  }
  const auto data = std::make_shared<Data>(pinned_rows(path), path, std::nullopt);
  data->grids = heap::checked_grids(std::move(grids));
  return PathTable(data);
}

std::optional<PathTable> PathTable::shipped(const Gpus& gpus) {
  const heap::ShippedTable* const found = heap::find_shipped_table(gpus);
  if (found == nullptr) return std::nullopt;
  std::vector<PathRow> rows = found->rows();
  const std::vector<PathRow> measured_rows = rows;
  // Sizes of groups between and beyond those that were measured keep what serves anywhere.
  for (PathRow& row : built_in_gpu_rows()) {
    const auto is_measured = [&](auto&& of_row) {
      return std::any_of(measured_rows.begin(), measured_rows.end(), of_row);
    };
    if (!is_measured([&](const PathRow& other) { return other.op == row.op; })) continue;
    if (row.ranks == 2 && row.op == Op::all_reduce) continue;  // it has a row for three
    row.ranks = std::max(row.ranks, 3U);
    const auto is_same = [&](const PathRow& other) {
      return other.op == row.op && other.ranks == row.ranks;
    };
    if (!is_measured(is_same)) rows.push_back(std::move(row));
  }
  const auto data = measured(std::move(rows), {}, COHORT_VERSION);
  data->machine.reset();
  data->grids = heap::checked_grids(found->grids());
  data->gpus = found->gpus();
  data->measures_gpus = true;
  data->shipped = found->title;
  return PathTable(data);
}

std::optional<Path> PathTable::pin() const noexcept {
  return data_->pin;
}

std::span<const PathRow> PathTable::rows() const noexcept {
  const std::span<const PathRow> all = data_->rows;
  if (data_->measures_gpus || (data_->pin && memory_of(*data_->pin) == Memory::cuda)) return all;
  const auto end = std::find_if(all.begin(), all.end(),
                                [](const PathRow& row) { return row.memory == Memory::cuda; });
  return {all.begin(), end};
}

const std::optional<Machine>& PathTable::machine() const noexcept {
  return data_->machine;
}

const std::optional<Gpus>& PathTable::gpus() const noexcept {
  return data_->gpus;
}

std::span<const GridRow> PathTable::grids() const noexcept {
  return data_->grids;
}

const std::string& PathTable::version() const noexcept {
  return data_->version;
}

std::span<const PathStep> PathTable::steps(Op op, std::uint32_t ranks, bool crowded,
                                           Memory memory) const noexcept {
  if (op == Op::recv) op = Op::send;  // both ends of a message take one path
  const std::span<const PathRow> rows =
      data_->rows_of[static_cast<std::size_t>(memory)][static_cast<std::size_t>(op)];
  const PathRow* best = &rows.front();
  for (const PathRow& row : rows.subspan(1)) {
    // By growing ranks within one crowding: the first serves until a later one is not too large.
    const bool nearer_kind = row.crowded == crowded && best->crowded != crowded;
    const bool same_kind = row.crowded == best->crowded;
    if (nearer_kind || (same_kind && row.ranks <= ranks)) best = &row;
  }
  return best->steps;
}

std::span<const GridStep> PathTable::grid(Op op, std::uint32_t ranks) const noexcept {
  const GridFamily family = grid_family(op);
  const GridRow* best = nullptr;
  for (const GridRow& row : data_->grids) {
    const bool serves = row.ranks == ranks || (row.ranks < ranks && row.ranks > 2);
    if (row.family == family && serves) best = &row;
  }
  if (best == nullptr) return {};
  return best->steps;
}

PathChoice PathTable::choose(Op op, std::uint32_t ranks, bool crowded, std::size_t bytes,
                             Memory memory) const noexcept {
  const std::span<const PathStep> all = steps(op, ranks, crowded, memory);
  std::size_t step = 0;
  while (bytes > all[step].bytes_max) ++step;  // the last has no limit
  const Path path = all[step].path;
  const bool missed = data_->pin.has_value() && path != *data_->pin;
  if (!missed) return {path, Reason::ok};
  return {path,
          *data_->pin == Path::gpu_two_shot ? Reason::op_unsupported : Reason::over_inline_limit};
}

bool operator==(const PathTable& left, const PathTable& right) {
  return left.data_ == right.data_ || left.lines() == right.lines();
}

std::vector<std::string> PathTable::lines() const {
  std::vector<std::string> lines;
  if (data_->pin) {
    lines.push_back("paths: pinned to " + std::string(to_string(*data_->pin)));
  } else if (!data_->shipped.empty()) {
    lines.push_back("paths: shipped table for " + data_->shipped);
  } else if (!data_->machine) {
    return {"paths: built-in table"};
  } else {
    lines.push_back("paths: measured on " + to_string(*data_->machine) +
                    (data_->gpus ? ", " + to_string(*data_->gpus) : "") + ", by cohort " +
                    data_->version);
  }
  for (const PathRow& row : data_->pin ? std::span<const PathRow>() : rows()) {
    std::string line = "path of " + describe_row(row) + ": ";
    for (const PathStep& step : row.steps) {
      line += to_string(step.path);
      if (step.bytes_max == PathStep::kUnlimited) continue;
      line += " to " + std::to_string(step.bytes_max) + " bytes, then ";
    }
    lines.push_back(std::move(line));
  }
  for (const GridRow& row : data_->grids) lines.push_back(heap::grid_line(row));
  return lines;
}

}  // namespace cohort
