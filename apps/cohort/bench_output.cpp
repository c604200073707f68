#include "bench_output.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <fstream>
#include <ostream>
#include <thread>

#include <nlohmann/json.hpp>

#include <cohort/version.hpp>

#include "base/bytes.hpp"
#include "base/system_limits.hpp"
#include "base/wrapped.hpp"

namespace cohort::bench {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kIndent = 4;

std::string cpu_model() {
  std::ifstream stream("/proc/cpuinfo");
  for (std::string line; std::getline(stream, line);) {
    if (line.starts_with("model name"))
      return line.substr(std::min(line.find(": ") + 2, line.size()));
  }
  return "unknown";
}

Json describe(const Times& times) {
  return {{"p50_us", times.p50_us},
          {"mean_us", times.mean_us},
          {"p99_us", times.p99_us},
          {"min_us", times.min_us},
          {"calls", times.calls}};
}

Json describe(const Row& row) {
  Json document{{"op", row.op},
                {"dtype", row.dtype},
                {"ranks", row.ranks},
                {"bytes", row.bytes},
                {"path", row.path},
                {"buffers", row.rotating ? "rotating" : "warm"},
                {"operands", row.in_heap ? "heap" : "ordinary"},
                {"in_place", row.in_place}};
  document.update(describe(row.times));
  document["peers"] = Json::object();
  for (const auto& [name, peer] : row.peers) {
    document["peers"][name] = describe(peer.times);
    document["peers"][name]["setting"] = peer.setting;
  }
  document["references"] = Json::object();
  for (const auto& [name, times] : row.references) document["references"][name] = describe(times);
  return document;
}

std::string format_us(double us) {
  std::array<char, 32> text{};
  const int digits = us < 10 ? 3 : us < 100 ? 2 : us < 1000 ? 1 : 0;
  std::snprintf(text.data(), text.size(), "%.*f", digits, us);
  return text.data();
}

std::string format_ratio(double ratio) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.2f", ratio);
  return text.data();
}

std::string reference_text(const Row& row) {
  std::string text;
  for (const auto& [name, times] : row.references) {
    text += (text.empty() ? "" : " ") + name + " " + format_us(times.p50_us);
  }
  return text;
}

std::string peers_text(const Row& row) {
  std::string text;
  for (const auto& [name, peer] : row.peers) {
    text += (text.empty() ? "" : " ") + name + " " + format_us(peer.times.p50_us);
  }
  return text;
}

/// Below what it belongs to.
void print_wrapped(const std::string& text, std::size_t indent, std::ostream& output) {
  for (const std::string& line : wrapped(text, kTextColumns - indent)) {
    output << std::string(indent, ' ') << line << '\n';
  }
}

void print_row(const Row& row, std::ostream& output) {
  const auto best = best_peer(row);
  std::array<char, 160> line{};
  std::snprintf(
      line.data(), line.size(), "%-14s %10s %-8s %-12s %7s %8s %8s %6s\n", row.op.c_str(),
      row.bytes == 0 ? "-" : format_bytes(row.bytes).c_str(), row.in_heap ? "heap" : "ordinary",
      row.path.c_str(), format_us(row.times.min_us).c_str(), format_us(row.times.p50_us).c_str(),
      format_us(row.times.p99_us).c_str(),
      best ? format_ratio(row.peers.at(*best).times.p50_us / row.times.p50_us).c_str() : "-");
  output << line.data();
  std::string others = peers_text(row);
  const std::string references = reference_text(row);
  if (!references.empty()) others += (others.empty() ? "| " : " | ") + references;
  print_wrapped(others, kIndent, output);
}

}  // namespace

void print_tables(const Measurement& measurement, std::ostream& output) {
  output << "us per call, the longest of all ranks; ratio: the best peer's p50 over cohort's;\n"
            "below a row: peers' p50 | references\n";
  const bool in_place = !measurement.rows.empty() && measurement.rows.front().in_place;
  if (in_place) output << "everybody in place: the operand lies where its result belongs\n";
  std::uint32_t ranks = 0;
  for (const Row& row : measurement.rows) {
    if (row.ranks != ranks) {
      ranks = row.ranks;
      if (measurement.memory == Memory::cuda) {
        output << '\n' << ranks << " ranks on GPUs, calls in graphs, warm buffers\n";
      } else {
        output << '\n' << ranks << " ranks on " << usable_cpu_count() << " CPUs, warm buffers\n";
      }
      output
          << "op                  bytes operands path             min      p50      p99  ratio\n";
    }
    if (!row.rotating) print_row(row, output);
  }
  const bool any_rotating = std::any_of(measurement.rows.begin(), measurement.rows.end(),
                                        [](const Row& row) { return row.rotating; });
  if (any_rotating) output << "\nrotating buffers (other memory in every call)\n";
  for (const Row& row : measurement.rows) {
    if (row.rotating) print_row(row, output);
  }
  if (!measurement.table.empty()) {
    output << '\n';
    print_wrapped(measurement.table, 0, output);
  }
  for (const RankFacts& facts : measurement.facts) {
    output << "\nrank " << facts.rank << " of " << facts.ranks << ":\n";
    std::string values;
    for (const auto& [name, value] : facts.values) {
      values += name + ' ' + std::to_string(value) + ' ';
    }
    print_wrapped(values, kIndent, output);
  }
  for (const Remark& remark : measurement.remarks) {
    print_wrapped("not compared with " + remark.who + ": " + remark.text, 0, output);
  }
}

std::string document_text(const Measurement& measurement) {
  Json document{{"schema", 1},
                {"version", COHORT_VERSION},
                {"machine",
                 {{"cpu", cpu_model()},
                  {"cpus", usable_cpu_count()},
                  {"hardware_threads", std::thread::hardware_concurrency()}}},
                {"device", to_string(measurement.memory)},
                {"paths", measurement.table}};
  document["rows"] = Json::array();
  for (const Row& row : measurement.rows) document["rows"].push_back(describe(row));
  document["remarks"] = Json::array();
  for (const Remark& remark : measurement.remarks) {
    document["remarks"].push_back({{"who", remark.who}, {"text", remark.text}});
  }
  document["ranks"] = Json::array();
  for (const RankFacts& facts : measurement.facts) {
    Json entry{{"ranks", facts.ranks}, {"rank", facts.rank}};
    for (const auto& [name, value] : facts.values) entry[name] = value;
    document["ranks"].push_back(entry);
  }
  return document.dump(-1, ' ', false, Json::error_handler_t::replace);
}

void print_document(const Measurement& measurement, std::ostream& output) {
  output << document_text(measurement) << '\n';
}

}  // namespace cohort::bench
