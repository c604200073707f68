#include "faults_output.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <ostream>
#include <sstream>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include <cohort/version.hpp>

#include "base/wrapped.hpp"
#include "output_file.hpp"

namespace cohort {

namespace {

using faults::Fault;
using faults::Observation;
using faults::Replay;
using Json = nlohmann::ordered_json;

constexpr std::size_t kIndent = 19;

/// `text` in lines that begin behind `lead`, which stands in the first of them.
void print_wrapped(std::string lead, std::string_view text, std::ostream& output) {
  lead.resize(std::max(kIndent, lead.size() + 1), ' ');
  std::string line = std::move(lead);
  bool is_empty = true;
  std::istringstream words{std::string(text)};
  for (std::string word; words >> word;) {
    if (!is_empty && line.size() + 1 + word.size() > kTextColumns) {
      output << line << '\n';
      line.assign(kIndent, ' ');
      is_empty = true;
    }
    if (!is_empty) line += ' ';
    line += word;
    is_empty = false;
  }
  output << line.substr(0, line.find_last_not_of(' ') + 1) << '\n';
}

void print_replay(const Replay& replay, std::ostream& output) {
  const Fault& fault = *replay.fault;
  for (const std::string& line :
       wrapped(std::string(fault.name) + ": " + std::string(fault.what), kTextColumns)) {
    output << line << '\n';
  }
  print_wrapped("  engines", fault.engines, output);
  const auto naive = std::string(to_string(replay.naive.outcome)) +
                     (replay.naive.as_said ? "" : " (did not fail)");
  const auto ours =
      std::string(to_string(replay.ours.outcome)) + (replay.kept() ? "" : " (NOT KEPT)");
  print_wrapped("  naive   " + naive, replay.naive.text, output);
  print_wrapped("  cohort  " + ours, replay.ours.text, output);
  print_wrapped("  why", fault.why, output);
  output << '\n';
}

Json describe(const Observation& seen, const char* verdict) {
  return {{"outcome", to_string(seen.outcome)},
          {verdict, seen.as_said},
          {"observed", seen.text},
          {"seconds", seen.seconds}};
}

Json describe(const Fault& fault) {
  return {
      {"name", fault.name}, {"what", fault.what}, {"engines", fault.engines}, {"why", fault.why}};
}

Json document() {
  return {{"schema", 1}, {"version", COHORT_VERSION}};
}

/// Words of the system may quote anything: what is not UTF-8 becomes U+FFFD.
std::string text_of(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

void print_fault_list(std::span<const Fault* const> all, bool json, std::ostream& output) {
  if (json) {
    Json list = document();
    list["faults"] = Json::array();
    for (const Fault* fault : all) list["faults"].push_back(describe(*fault));
    output << text_of(list) << '\n';
    return;
  }
  for (const Fault* fault : all) {
    print_wrapped(std::string(fault->name), fault->what, output);
  }
}

FaultsReport::FaultsReport(const faults::Setting& setting, bool json, std::ostream& output)
    : setting_(setting), json_(json), output_(&output) {}

void FaultsReport::add(const Replay& replay) {
  replays_.push_back(replay);
  if (json_) return;
  print_replay(replay, *output_);
  require_written(*output_);
}

bool FaultsReport::kept() const noexcept {
  return std::all_of(replays_.begin(), replays_.end(), [](const Replay& r) { return r.kept(); });
}

void FaultsReport::finish() {
  const auto failed = std::count_if(replays_.begin(), replays_.end(),
                                    [](const Replay& replay) { return replay.naive.as_said; });
  const auto kept =
      std::count_if(replays_.begin(), replays_.end(), [](const Replay& r) { return r.kept(); });
  if (!json_) {
    std::array<char, 160> line{};
    std::snprintf(line.data(), line.size(),
                  "%zu faults on %u ranks in %.1f s:\nthe naive way failed in %td, cohort kept its "
                  "promise in %td\n",
                  replays_.size(), setting_.ranks, watch_.seconds(), failed, kept);
    *output_ << line.data();
    return;
  }
  *output_ << document_text() << '\n';
}

std::string FaultsReport::document_text() const {
  Json all = document();
  all["ranks"] = setting_.ranks;
  all["kept"] = this->kept();
  all["seconds"] = watch_.seconds();
  all["faults"] = Json::array();
  for (const Replay& replay : replays_) {
    Json entry = describe(*replay.fault);
    entry["naive"] = describe(replay.naive, "failed");
    entry["cohort"] = describe(replay.ours, "kept");
    all["faults"].push_back(entry);
  }
  return text_of(all);
}

}  // namespace cohort
