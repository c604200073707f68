#include "matrix/table.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <stdexcept>

namespace cohort::matrix {
namespace {

constexpr std::string_view kBegin = "<!-- fault_matrix: begin -->\n";
constexpr std::string_view kEnd = "<!-- fault_matrix: end -->";

}  // namespace

void Table::add(const FaultCase& fault_case, const Outcome& outcome) {
  Cell& cell = cells_[{fault_case.step->name, fault_case.fault}];
  ++cell.ends[outcome.how];
  cell.slowest_ms = std::max(cell.slowest_ms, outcome.slowest_ms);
  ++case_count_;
  if (outcome.complaints.empty()) return;
  ++cell.bad;
  ++bad_count_;
}

std::string Table::text_of(const Step& step, Fault fault) const {
  const auto found = cells_.find({step.name, fault});
  if (found == cells_.end()) return "";
  const Cell& cell = found->second;
  std::string text;
  for (const auto& [how, count] : cell.ends) {
    text += (text.empty() ? "" : ", ") + how + " " + std::to_string(count);
  }
  if (cell.slowest_ms > 0) {
    std::array<char, 32> time{};
    std::snprintf(time.data(), time.size(), "; %.2f s", cell.slowest_ms / 1000);
    text += time.data();
  }
  if (cell.bad != 0) text += "; **" + std::to_string(cell.bad) + " wrong**";
  return text;
}

std::string Table::part(bool messages) const {
  std::vector<Fault> faults;
  for (const Fault fault : all_faults()) {
    const bool used = std::ranges::any_of(all_steps(), [&](const Step& step) {
      return step.is_message == messages && cells_.contains({step.name, fault});
    });
    if (used) faults.push_back(fault);
  }
  std::string text = messages ? "| message |" : "| step |";
  std::string rule = "|---|";
  for (const Fault fault : faults) {
    text += " " + std::string(to_string(fault)) + " |";
    rule += "---|";
  }
  text += "\n" + rule + "\n";
  for (const Step& step : all_steps()) {
    if (step.is_message != messages) continue;
    text += "| `" + std::string(step.name) + "` |";
    for (const Fault fault : faults) text += " " + text_of(step, fault) + " |";
    text += "\n";
  }
  return text;
}

std::string Table::markdown() const {
  return part(false) + "\n" + part(true) + "\n" + std::to_string(case_count_) + " cases, " +
         std::to_string(bad_count_) + " wrong.\n";
}

std::string with_table(const std::string& document, const std::string& table) {
  const std::size_t begin = document.find(kBegin);
  const std::size_t end = document.find(kEnd);
  if (begin == std::string::npos || end == std::string::npos || end < begin) {
    throw std::runtime_error("the document has no lines '" +
                             std::string(kBegin.substr(0, kBegin.size() - 1)) + "' and '" +
                             std::string(kEnd) + "'");
  }
  return document.substr(0, begin + kBegin.size()) + "\n" + table + "\n" + document.substr(end);
}

}  // namespace cohort::matrix
