#include "check_output.hpp"

#include <algorithm>
#include <ostream>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include <cohort/version.hpp>

#include "base/wrapped.hpp"
#include "terminal.hpp"

namespace cohort {

namespace {

using check::Row;
using check::Status;

constexpr std::size_t kStatusColumns = 9;
constexpr std::size_t kNameColumns = 18;

std::string padded(std::string text, std::size_t columns) {
  if (text.size() < columns) text.resize(columns, ' ');
  return text;
}

void print_paragraph(std::string_view text, std::ostream& output) {
  for (const std::string& line : wrapped(text, kTextColumns - kStatusColumns)) {
    output << std::string(kStatusColumns, ' ') << line << '\n';
  }
}

Ink ink_of(Status status) {
  switch (status) {
    case Status::ok: return Ink::green;
    case Status::warning: return Ink::yellow;
    case Status::problem: break;
  }
  return Ink::red;
}

/// "cpus", "cpus and memory", "cpus, memory and join".
std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (i > 0) text += i + 1 == names.size() ? " and " : ", ";
    text += names[i];
  }
  return text;
}

std::vector<std::string> names_with(const std::vector<Row>& rows, Status status) {
  std::vector<std::string> names;
  for (const Row& row : rows) {
    if (row.status == status) names.push_back(row.name);
  }
  return names;
}

std::string outcome(const std::vector<Row>& rows, const check::Wanted& wanted) {
  const auto problems = names_with(rows, Status::problem);
  const auto warnings = names_with(rows, Status::warning);
  const std::string ranks = std::to_string(wanted.ranks) + (wanted.ranks == 1 ? " rank" : " ranks");
  std::string text = problems.empty() ? ranks + " can run here"
                                      : ranks + " cannot run here: see " + listed(problems);
  if (!warnings.empty()) {
    text += "; " + std::to_string(warnings.size()) +
            (warnings.size() == 1 ? " warning: " : " warnings: ") + listed(warnings);
  }
  return text + ".";
}

}  // namespace

void print_rows(const std::vector<Row>& rows, const check::Wanted& wanted, std::ostream& output) {
  const Terminal terminal = terminal_of(output);
  output << padded("status", kStatusColumns) << padded("name", kNameColumns) << "value\n";
  for (const Row& row : rows) {
    output << inked(padded(std::string(to_string(row.status)), kStatusColumns), ink_of(row.status),
                    terminal)
           << padded(row.name, kNameColumns);
    const auto lines = wrapped(row.value, kTextColumns - kStatusColumns - kNameColumns);
    for (std::size_t i = 0; i < lines.size(); ++i) {
      if (i > 0) output << std::string(kStatusColumns + kNameColumns, ' ');
      output << lines[i] << '\n';
    }
    if (lines.empty()) output << '\n';
    print_paragraph(row.meaning, output);
    if (!row.remedy.empty()) print_paragraph("What to do: " + row.remedy, output);
  }
  output << '\n';
  for (const std::string& line : wrapped(outcome(rows, wanted), kTextColumns))
    output << line << '\n';
}

void print_rows_as_json(const std::vector<Row>& rows, std::ostream& output) {
  using Json = nlohmann::ordered_json;
  Json list = Json::array();
  for (const Row& row : rows) {
    list.push_back({{"name", row.name},
                    {"value", row.value},
                    {"status", to_string(row.status)},
                    {"meaning", row.meaning},
                    {"remedy", row.remedy}});
  }
  const Json document{
      {"schema", 1}, {"version", COHORT_VERSION}, {"ok", ranks_are_possible(rows)}, {"rows", list}};
  // What the system calls things may be no UTF-8.
  output << document.dump(-1, ' ', false, Json::error_handler_t::replace) << '\n';
}

bool ranks_are_possible(const std::vector<Row>& rows) noexcept {
  return std::none_of(rows.begin(), rows.end(),
                      [](const Row& row) { return row.status == Status::problem; });
}

}  // namespace cohort
