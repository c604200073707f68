#include <algorithm>
#include <array>
#include <cstdio>
#include <numeric>
#include <string>
#include <vector>

#include "base/bytes.hpp"
#include "base/wrapped.hpp"
#include "report/job_ledger.hpp"

namespace cohort {

namespace {

constexpr std::size_t kWordCount = 3;
constexpr std::size_t kFigureCount = 5;
constexpr std::size_t kColumnCount = kWordCount + kFigureCount;

/// One row: words to the left, figures to the right.
using Cells = std::array<std::string, kColumnCount>;
using Widths = std::array<std::size_t, kColumnCount>;

constexpr std::size_t kIndent = 2;

std::string format_seconds(double seconds) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.3f", seconds);
  return text.data();
}

std::string padded(const std::string& cell, std::size_t width, bool to_the_right) {
  const std::string space(width - std::min(width, cell.size()), ' ');
  return to_the_right ? space + cell : cell + space;
}

/// How rows are set so that they fit a terminal: with two columns between cells, else with one,
/// else with the figures below the words.
struct Setting {
  Widths widths{};
  std::size_t gap = 2;
  bool in_two_lines = false;
};

Setting setting_of(const std::vector<Cells>& table) {
  Setting setting;
  for (const Cells& cells : table) {
    for (std::size_t i = 0; i < kColumnCount; ++i) {
      setting.widths.at(i) = std::max(setting.widths.at(i), cells.at(i).size());
    }
  }
  const std::size_t cells =
      std::accumulate(setting.widths.begin(), setting.widths.end(), std::size_t{0});
  if (kIndent + cells + 2 * (kColumnCount - 1) > kTextColumns) setting.gap = 1;
  setting.in_two_lines = kIndent + cells + kColumnCount - 1 > kTextColumns;
  if (setting.in_two_lines) setting.gap = 2;
  return setting;
}

std::string line_of(const Cells& cells, const Setting& setting) {
  const std::string gap(setting.gap, ' ');
  std::string words;
  std::string figures;
  for (std::size_t i = 0; i < kColumnCount; ++i) {
    const bool is_word = i < kWordCount;
    std::string& part = is_word ? words : figures;
    part += (part.empty() ? "" : gap) + padded(cells.at(i), setting.widths.at(i), !is_word);
  }
  if (!setting.in_two_lines) return std::string(kIndent, ' ') + words + gap + figures + "\n";
  words.erase(words.find_last_not_of(' ') + 1);
  return std::string(kIndent, ' ') + words + "\n" +
         padded(figures, kTextColumns, /*to_the_right=*/true) + "\n";
}

std::string wrapped_text(const std::string& text) {
  std::string lines;
  for (const std::string& line : wrapped(text, kTextColumns)) lines += line + "\n";
  return lines;
}

std::string explanations(std::span<const LedgerRow> rows) {
  std::array<bool, kReasonCount> said{};
  std::string text;
  for (const LedgerRow& row : rows) {
    bool& already_said = said.at(static_cast<std::size_t>(row.reason));
    if (row.reason == Reason::ok || already_said) continue;
    already_said = true;
    text += "\n" + wrapped_text(std::string(to_string(row.reason)) + ": " +
                                std::string(explain(row.reason)));
  }
  return text;
}

/// "attn_cp, ranks 0-1", broken at commas where many ranks lie far apart.
std::string heading_of(const LedgerRow& row) {
  std::string ranks = format_ranks(row.ranks);
  for (std::size_t at = 0; (at = ranks.find(',', at)) != std::string::npos; at += 2) {
    ranks.insert(at + 1, " ");
  }
  return wrapped_text(std::string(to_string(row.group)) +
                      (row.ranks.size() == 1 ? ", rank " : ", ranks ") + ranks);
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
      {"op", "path", "reason", "calls", "bytes", "copied", "move s", "wait s"}};
  for (const LedgerRow& row : rows) {
    table.push_back({std::string(to_string(row.op)), std::string(to_string(row.path)),
                     std::string(to_string(row.reason)), std::to_string(row.calls),
                     format_bytes(row.bytes), format_bytes(row.copied_bytes),
                     format_seconds(row.transfer_s), format_seconds(row.wait_s)});
  }
  const Setting setting = setting_of(table);
  std::string text = line_of(table.front(), setting);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const LedgerRow& row = rows[i];
    const bool same_group =
        i > 0 && rows[i - 1].group == row.group && rows[i - 1].ranks == row.ranks;
    if (!same_group) text += heading_of(row);
    text += line_of(table[i + 1], setting);
  }
  return text + explanations(rows);
}

}  // namespace cohort
