#include <algorithm>
#include <array>
#include <cstdio>
#include <numeric>
#include <string>

#include "base/bytes.hpp"
#include "report/job_ledger.hpp"

namespace cohort {

namespace {

constexpr std::size_t kColumnCount = 10;
using Cells = std::array<std::string, kColumnCount>;

// Words to the left, figures to the right.
constexpr std::size_t kWordColumnCount = 5;

constexpr std::size_t kColumnsMax = 100;

std::string format_seconds(double seconds) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.3f", seconds);
  return text.data();
}

std::string padded(const std::string& cell, std::size_t width, bool to_the_right) {
  const std::string space(width - std::min(width, cell.size()), ' ');
  return to_the_right ? space + cell : cell + space;
}

/// Two columns between cells where that fits a terminal, else one.
std::size_t gap_between(const std::array<std::size_t, kColumnCount>& widths) {
  const std::size_t cells = std::accumulate(widths.begin(), widths.end(), std::size_t{0});
  return cells + 2 * (kColumnCount - 1) <= kColumnsMax ? 2 : 1;
}

std::string explanations(std::span<const LedgerRow> rows) {
  std::array<bool, kReasonCount> said{};
  std::string text;
  for (const LedgerRow& row : rows) {
    bool& already_said = said.at(static_cast<std::size_t>(row.reason));
    if (row.reason == Reason::ok || already_said) continue;
    already_said = true;
    text += "\n" + std::string(to_string(row.reason)) + ": " + std::string(explain(row.reason));
  }
  return text.empty() ? text : text + "\n";
}

}  // namespace

std::string format_ranks(std::span<const WorldRank> ranks) {
  std::string text;
  for (std::size_t first = 0; first < ranks.size();) {
    std::size_t last = first;
    while (last + 1 < ranks.size() && ranks[last + 1].index() == ranks[last].index() + 1) ++last;
    text += (first == 0 ? "" : ",") + std::to_string(ranks[first].index());
    if (last > first) text += "-" + std::to_string(ranks[last].index());
    first = last + 1;
  }
  return text;
}

std::string ledger_as_text(std::span<const LedgerRow> rows) {
  std::vector<Cells> table{
      {"group", "ranks", "op", "path", "reason", "calls", "bytes", "copied", "move s", "wait s"}};
  for (const LedgerRow& row : rows) {
    table.push_back({std::string(to_string(row.group)), format_ranks(row.ranks),
                     std::string(to_string(row.op)), std::string(to_string(row.path)),
                     std::string(to_string(row.reason)), std::to_string(row.calls),
                     format_bytes(row.bytes), format_bytes(row.copied_bytes),
                     format_seconds(row.transfer_s), format_seconds(row.wait_s)});
  }
  std::array<std::size_t, kColumnCount> widths{};
  for (const Cells& cells : table) {
    for (std::size_t i = 0; i < kColumnCount; ++i) {
      widths.at(i) = std::max(widths.at(i), cells.at(i).size());
    }
  }
  const std::string gap(gap_between(widths), ' ');
  std::string text;
  for (const Cells& cells : table) {
    std::string line;
    for (std::size_t i = 0; i < kColumnCount; ++i) {
      line += (i == 0 ? "" : gap) + padded(cells.at(i), widths.at(i), i >= kWordColumnCount);
    }
    text += line + "\n";
  }
  return text + explanations(rows);
}

}  // namespace cohort
