// What ranks that really ran have found, and the list of all rows.

#include <algorithm>
#include <array>
#include <cstdio>

#include "check/judge.hpp"

namespace cohort::check {
namespace {

std::string counted(std::uint64_t count, const std::string& thing) {
  return std::to_string(count) + ' ' + thing + (count == 1 ? "" : "s");
}

std::string format_time(double seconds) {
  std::array<char, 32> text{};
  if (seconds < 1e-3) {
    std::snprintf(text.data(), text.size(), "%.2f us", seconds * 1e6);
  } else if (seconds < 1) {
    std::snprintf(text.data(), text.size(), "%.1f ms", seconds * 1e3);
  } else {
    std::snprintf(text.data(), text.size(), "%.1f s", seconds);
  }
  return text.data();
}

std::uint32_t joined_count(std::span<const RankReport> reports) {
  return static_cast<std::uint32_t>(
      std::count_if(reports.begin(), reports.end(),
                    [](const RankReport& report) { return report.join_seconds.has_value(); }));
}

bool all_joined(std::span<const RankReport> reports) {
  return joined_count(reports) == reports.size();
}

std::string ending(const std::optional<std::string>& fault) {
  return fault ? "The job ended with: " + *fault + "." : "No rank said why.";
}

/// Round trips from rank 0, as a row without a judgement. Nothing where none was measured.
struct Trips {
  std::size_t count = 0;
  TripTimes slowest;
  std::uint32_t slowest_rank = 0;
};

Trips summarise(std::span<const RankReport> reports, TripTimes RoundTrip::*times) {
  Trips trips;
  for (const RankReport& report : reports) {
    for (const RoundTrip& trip : report.trips) {
      ++trips.count;
      if ((trip.*times).median_ns < trips.slowest.median_ns) continue;
      trips.slowest = trip.*times;
      trips.slowest_rank = trip.other;
    }
  }
  return trips;
}

std::string describe(const Trips& trips) {
  std::string text = format_time(trips.slowest.median_ns * 1e-9) + " (best " +
                     format_time(trips.slowest.best_ns * 1e-9) + ")";
  if (trips.count > 1) {
    text += ", ranks 0 and " + std::to_string(trips.slowest_rank) + ", the slowest of " +
            std::to_string(trips.count) + " pairs";
  }
  return text;
}

Row not_measured(const std::string& name, std::size_t rank_count) {
  if (rank_count < 2) {
    return {name, "not measured", Status::ok, "It takes two ranks.", ""};
  }
  return {name, "not measured", Status::warning, "The ranks did not get so far.", "See join."};
}

}  // namespace

Row join_row(std::span<const RankReport> reports, const std::optional<std::string>& fault) {
  constexpr double kSlowSeconds = 2;
  Row row{"join", "", Status::ok, "", ""};
  if (!all_joined(reports)) {
    row.value = std::to_string(joined_count(reports)) + " of " + counted(reports.size(), "rank") +
                " joined";
    row.status = Status::problem;
    row.meaning = ending(fault);
    row.remedy =
        "Mend the problems above first: they are the likely cause. Without one, see what the text "
        "names, and whether other limits stop new processes (ulimit -u).";
    return row;
  }
  const auto slowest = std::max_element(reports.begin(), reports.end(),
                                        [](const RankReport& left, const RankReport& right) {
                                          return left.join_seconds < right.join_seconds;
                                        });
  const double seconds = slowest == reports.end() ? 0 : *slowest->join_seconds;
  row.value = counted(reports.size(), "rank") + " in " + format_time(seconds);
  row.meaning = "Processes were started, found each other and mapped their control memory.";
  if (seconds > kSlowSeconds) {
    row.status = Status::warning;
    row.meaning +=
        " That is slow: the last was rank " + std::to_string(slowest - reports.begin()) + ".";
    row.remedy = "Look for what else runs on this machine, and for too few CPUs.";
  }
  return row;
}

Row shared_memory_row(std::span<const RankReport> reports,
                      const std::optional<std::string>& fault) {
  Row row{"shared_memory", "", Status::ok, "", ""};
  if (!all_joined(reports)) {
    return {row.name, "not tried", Status::warning, "The ranks did not get so far.", "See join."};
  }
  const auto without = std::find_if(reports.begin(), reports.end(),
                                    [](const RankReport& each) { return !each.shares_memory; });
  if (without != reports.end()) {
    row.value = "rank " + std::to_string(without - reports.begin()) + " could not";
    row.status = Status::problem;
    row.meaning = "Ranks pass memory as descriptors (SCM_RIGHTS) and map it. " + ending(fault);
    row.remedy =
        "Mend the problems above first; else let the sandbox allow sendmsg, recvmsg and mmap.";
    return row;
  }
  row.value = "every rank reads and writes every rank's";
  row.meaning = "Descriptors passed from rank to rank (SCM_RIGHTS), mapped, written and read back.";
  const bool finished = std::all_of(reports.begin(), reports.end(),
                                    [](const RankReport& each) { return each.finished; });
  if (!finished || fault) {
    row.status = Status::problem;
    row.meaning += " But then the ranks failed. " + ending(fault);
    row.remedy = "Run it again; if it fails again, see what the named rank ran into.";
  }
  return row;
}

Row spin_trip_row(std::span<const RankReport> reports, const HostFacts& facts) {
  constexpr double kSlowNs = 3000;
  const Trips trips = summarise(reports, &RoundTrip::spin);
  if (trips.count == 0) return not_measured("spin_round_trip", reports.size());
  Row row{"spin_round_trip", describe(trips), Status::ok, "", ""};
  row.meaning =
      "A cache line to another rank and back, both looking at it: the floor of every small call.";
  if (trips.slowest.median_ns <= kSlowNs) return row;
  row.status = Status::warning;
  if (reports.size() > facts.usable_cpus) {
    row.meaning += " Here it is a turn of the scheduler: ranks outnumber CPUs.";
    row.remedy = "See cpus.";
  } else {
    row.meaning += " So slow, two ranks did not run at the same time.";
    row.remedy =
        "Look for other load on these CPUs, or bind each rank to a core of its own (taskset).";
  }
  return row;
}

Row sleep_trip_row(std::span<const RankReport> reports) {
  constexpr double kSlowNs = 200'000;
  const Trips trips = summarise(reports, &RoundTrip::sleep);
  if (trips.count == 0) return not_measured("futex_round_trip", reports.size());
  Row row{"futex_round_trip", describe(trips), Status::ok, "", ""};
  row.meaning = "The same with both asleep until they are woken: what a long wait adds at its end.";
  if (trips.slowest.median_ns > kSlowNs) {
    row.status = Status::warning;
    row.meaning += " Waking is slow here.";
    row.remedy = "Look for other load, deep sleep states of idle CPUs, and a busy hypervisor.";
  }
  return row;
}

std::vector<Row> judge(const HostFacts& facts, const Wanted& wanted,
                       std::span<const RankReport> reports,
                       const std::optional<std::string>& fault) {
  std::uint32_t bound = 0;
  std::optional<std::string> refusal;
  for (const RankReport& report : reports) {
    if (report.node) ++bound;
    if (report.addresses && !refusal) refusal = report.addresses;
  }
  return {kernel_row(facts),
          clock_row(facts),
          cpus_row(facts, wanted),
          cores_row(facts, wanted),
          memory_nodes_row(facts, wanted, bound),
          memory_row(facts, wanted),
          huge_pages_row(facts),
          processes_row(facts, wanted),
          open_files_row(facts, wanted),
          address_space_row(facts, wanted, refusal),
          file_size_row(facts, wanted),
          locked_memory_row(facts),
          memfd_row(facts),
          pidfd_row(facts),
          sandbox_row(facts),
          join_row(reports, fault),
          shared_memory_row(reports, fault),
          spin_trip_row(reports, facts),
          sleep_trip_row(reports)};
}

}  // namespace cohort::check
