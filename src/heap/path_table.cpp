#include <algorithm>
#include <array>
#include <tuple>
#include <utility>

#include <cohort/error.hpp>
#include <cohort/path_table.hpp>
#include <cohort/version.hpp>

#include "heap/arena_layout.hpp"

namespace cohort {

struct PathTable::Data {
  std::vector<PathRow> rows;  // by operation, crowding and ranks
  std::array<std::span<const PathRow>, kOpCount> rows_of{};
  std::optional<Path> pin;
  std::optional<Machine> machine;
  std::string version = COHORT_VERSION;

  Data(std::vector<PathRow> of, std::optional<Path> pinned_path, std::optional<Machine> on)
      : rows(std::move(of)), pin(pinned_path), machine(std::move(on)) {
    for (auto begin = rows.begin(); begin != rows.end();) {
      const auto end =
          std::find_if(begin, rows.end(), [&](const PathRow& row) { return row.op != begin->op; });
      rows_of[static_cast<std::size_t>(begin->op)] = {begin, end};
      begin = end;
    }
  }
  Data(const Data&) = delete;
  Data& operator=(const Data&) = delete;
};

namespace {

constexpr std::size_t kRowsMax = 4096;
constexpr std::size_t kStepsMax = 16;

std::string describe_row(const PathRow& row) {
  return std::string(to_string(row.op)) + ", " + std::to_string(row.ranks) + " ranks" +
         (row.crowded ? ", crowded" : "");
}

[[noreturn]] void refuse(const PathRow& row, const std::string& why) {
  throw Error(ErrorCode::usage, "path table, row of " + describe_row(row) + ": " + why,
              std::nullopt, "path table");
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
  return std::tuple(row.op, row.crowded, row.ranks);
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

std::vector<PathRow> pinned_rows(Path path) {
  std::vector<PathRow> rows;
  for (std::size_t i = 0; i < kOpCount; ++i) {
    if (static_cast<Op>(i) == Op::recv) continue;
    std::vector<PathStep> steps = {{path}};
    if (path == Path::host_inline) {
      steps = {{Path::host_inline, heap::kInlineBytesMax}, {Path::host_direct}};
    }
    rows.push_back({static_cast<Op>(i), 2, false, std::move(steps)});
  }
  return rows;
}

}  // namespace

PathTable::PathTable(std::shared_ptr<const Data> data) : data_(std::move(data)) {}

PathTable::PathTable() {
  static const auto built_in =
      std::make_shared<const Data>(built_in_rows(), std::nullopt, std::nullopt);
  data_ = built_in;
}

PathTable::PathTable(std::vector<PathRow> rows, Machine machine, std::string version) {
  if (rows.size() > kRowsMax) {
    throw Error(ErrorCode::usage, "path table: more than " + std::to_string(kRowsMax) + " rows",
                std::nullopt, "path table");
  }
  for (const PathRow& row : rows) check(row);
  for (PathRow& row : built_in_rows()) {
    const auto same = [&](const PathRow& other) { return other.op == row.op; };
    if (std::none_of(rows.begin(), rows.end(), same)) rows.push_back(std::move(row));
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
  data_ = std::move(data);
}

PathTable PathTable::pinned(Path path) {
  if (path == Path::local) {
    throw Error(ErrorCode::usage, "path local serves groups of one rank only: it cannot be pinned",
                std::nullopt, "path table");
  }
  return PathTable(std::make_shared<const Data>(pinned_rows(path), path, std::nullopt));
}

std::optional<Path> PathTable::pin() const noexcept {
  return data_->pin;
}

std::span<const PathRow> PathTable::rows() const noexcept {
  return data_->rows;
}

const std::optional<Machine>& PathTable::machine() const noexcept {
  return data_->machine;
}

const std::string& PathTable::version() const noexcept {
  return data_->version;
}

std::span<const PathStep> PathTable::steps(Op op, std::uint32_t ranks,
                                           bool crowded) const noexcept {
  if (op == Op::recv) op = Op::send;  // both ends of a message take one path
  const std::span<const PathRow> rows = data_->rows_of[static_cast<std::size_t>(op)];
  const PathRow* best = &rows.front();
  for (const PathRow& row : rows.subspan(1)) {
    // By growing ranks within one crowding: the first serves until a later one is not too large.
    const bool nearer_kind = row.crowded == crowded && best->crowded != crowded;
    const bool same_kind = row.crowded == best->crowded;
    if (nearer_kind || (same_kind && row.ranks <= ranks)) best = &row;
  }
  return best->steps;
}

PathChoice PathTable::choose(Op op, std::uint32_t ranks, bool crowded,
                             std::size_t bytes) const noexcept {
  const std::span<const PathStep> all = steps(op, ranks, crowded);
  std::size_t step = 0;
  while (bytes > all[step].bytes_max) ++step;  // the last has no limit
  const Path path = all[step].path;
  const bool missed = data_->pin.has_value() && path != *data_->pin;
  return {path, missed ? Reason::over_inline_limit : Reason::ok};
}

bool operator==(const PathTable& left, const PathTable& right) {
  return left.data_ == right.data_ || left.lines() == right.lines();
}

std::vector<std::string> PathTable::lines() const {
  if (data_->pin) return {"paths: pinned to " + std::string(to_string(*data_->pin))};
  if (!data_->machine) return {"paths: built-in table"};
  std::vector<std::string> lines = {"paths: measured on " + to_string(*data_->machine) +
                                    ", by cohort " + data_->version};
  for (const PathRow& row : data_->rows) {
    std::string line = "path of " + describe_row(row) + ": ";
    for (const PathStep& step : row.steps) {
      line += to_string(step.path);
      if (step.bytes_max == PathStep::kUnlimited) continue;
      line += " to " + std::to_string(step.bytes_max) + " bytes, then ";
    }
    lines.push_back(std::move(line));
  }
  return lines;
}

}  // namespace cohort
