#include "check/rank_report.hpp"

#include <algorithm>
#include <iomanip>
#include <limits>
#include <sstream>

namespace cohort::check {

std::string to_text(const RankReport& report) {
  std::ostringstream text;
  text << std::setprecision(std::numeric_limits<double>::max_digits10);
  if (report.join_seconds) text << "joined " << *report.join_seconds << '\n';
  if (report.node) text << "node " << *report.node << '\n';
  if (report.addresses) {
    std::string line = *report.addresses;
    std::replace(line.begin(), line.end(), '\n', ' ');
    text << "addresses " << line << '\n';
  }
  if (report.shares_memory) text << "shares memory\n";
  for (const RoundTrip& trip : report.trips) {
    text << "trip " << trip.other;
    for (const TripTimes& times : {trip.spin, trip.sleep}) {
      text << ' ' << times.median_ns << ' ' << times.best_ns;
    }
    text << '\n';
  }
  if (report.finished) text << "finished\n";
  return text.str();
}

RankReport parse_rank_report(std::string_view text) {
  RankReport report;
  // The memory behind a report is zero.
  std::istringstream lines{std::string(text.substr(0, text.find('\0')))};
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string key;
    words >> key;
    double seconds = 0;
    std::uint32_t node = 0;
    RoundTrip trip;
    if (key == "joined" && words >> seconds) {
      report.join_seconds = seconds;
    } else if (key == "node" && words >> node) {
      report.node = node;
    } else if (key == "addresses" && line.size() > key.size() + 1) {
      report.addresses = line.substr(key.size() + 1);
    } else if (key == "shares") {
      report.shares_memory = true;
    } else if (key == "trip" && words >> trip.other >> trip.spin.median_ns >> trip.spin.best_ns >>
                                    trip.sleep.median_ns >> trip.sleep.best_ns) {
      report.trips.push_back(trip);
    } else if (key == "finished") {
      report.finished = true;
    }
  }
  return report;
}

}  // namespace cohort::check
