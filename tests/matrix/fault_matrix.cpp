// Makes every fault happen at every step, and says what is not as it must be.
//   fault_matrix [--ranks 2,3,5,8] [--fault NAME] [--step NAME] [--victim RANK] [--jobs N]
//                [--sample N --seed S] [--markdown FILE] [--list]
// Ends with 1 if any case went wrong. --markdown rewrites the tables between the two marker lines
// of a document.

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <optional>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.hpp"
#include "matrix/board.hpp"
#include "matrix/fault_case.hpp"
#include "matrix/run_case.hpp"
#include "matrix/table.hpp"

namespace {

using cohort::matrix::FaultCase;

struct Options {
  std::vector<std::uint32_t> ranks{2, 3, 5, 8};
  std::optional<cohort::matrix::Fault> fault;
  std::string step;
  std::optional<std::uint32_t> victim;
  std::uint32_t jobs = 8;
  std::size_t sample = 0;
  std::uint32_t seed = 1;
  std::string markdown;
  bool lists = false;
};

std::uint32_t number(const std::string& text, const std::string& flag) {
  std::size_t end = 0;
  const unsigned long value = std::stoul(text, &end);
  if (end != text.size() || value > 1'000'000'000) {
    throw std::invalid_argument(flag + " takes a number, not '" + text + "'");
  }
  return static_cast<std::uint32_t>(value);
}

std::vector<std::uint32_t> rank_counts(const std::string& text) {
  std::vector<std::uint32_t> counts;
  std::istringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) {
    counts.push_back(number(part, "--ranks"));
    if (counts.back() < 2 || counts.back() > cohort::matrix::kRankCountMax) {
      throw std::invalid_argument("--ranks takes numbers from 2 to 8");
    }
  }
  return counts;
}

void take(Options& options, const std::string& flag, const std::string& value) {
  if (flag == "--ranks") {
    options.ranks = rank_counts(value);
  } else if (flag == "--fault") {
    options.fault = cohort::matrix::fault_from_string(value);
    if (!options.fault) throw std::invalid_argument("no fault is called '" + value + "'");
  } else if (flag == "--step") {
    options.step = cohort::matrix::step_of(value).name;
  } else if (flag == "--victim") {
    options.victim = number(value, flag);
  } else if (flag == "--jobs") {
    options.jobs = std::max(number(value, flag), 1U);
  } else if (flag == "--sample") {
    options.sample = number(value, flag);
  } else if (flag == "--seed") {
    options.seed = number(value, flag);
  } else if (flag == "--markdown") {
    options.markdown = value;
  } else {
    throw std::invalid_argument("unknown flag " + flag);
  }
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    if (flag == "--list") {
      options.lists = true;
      continue;
    }
    if (++i == argc) throw std::invalid_argument(flag + " needs a value");
    take(options, flag, argv[i]);
  }
  return options;
}

std::vector<FaultCase> chosen_cases(const Options& options) {
  std::vector<FaultCase> cases = cohort::matrix::all_cases(options.ranks);
  std::erase_if(cases, [&](const FaultCase& each) {
    return (options.fault && each.fault != *options.fault) ||
           (!options.step.empty() && each.step->name != options.step) ||
           (options.victim && each.victim != *options.victim);
  });
  if (options.sample != 0) {
    std::mt19937 random(options.seed);
    std::ranges::shuffle(cases, random);
    cases.resize(std::min(cases.size(), options.sample));
  }
  return cases;
}

std::string read_file(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  if (!stream) throw std::runtime_error("cannot read " + path);
  return {std::istreambuf_iterator<char>(stream), {}};
}

int run(const Options& options) {
  const std::vector<FaultCase> cases = chosen_cases(options);
  if (options.lists) {
    for (const FaultCase& each : cases) std::printf("%s\n", each.describe().c_str());
    return 0;
  }
  const cohort::Stopwatch watch;
  cohort::matrix::Table table;
  double told = 0;
  cohort::matrix::run_cases(cases, options.jobs, [&](const FaultCase& each, const auto& outcome) {
    table.add(each, outcome);
    if (!outcome.complaints.empty()) std::fprintf(stdout, "%s", outcome.complaints.c_str());
    std::fflush(stdout);
    if (watch.seconds() < told + 5) return;
    told = watch.seconds();
    std::fprintf(stderr, "%zu of %zu cases after %.0f s, %zu wrong\n", table.case_count(),
                 cases.size(), told, table.bad_count());
  });
  std::fprintf(stderr, "%zu cases in %.0f s, %zu wrong\n", table.case_count(), watch.seconds(),
               table.bad_count());
  if (!options.markdown.empty()) {
    const std::string document =
        cohort::matrix::with_table(read_file(options.markdown), table.markdown());
    std::ofstream(options.markdown, std::ios::binary) << document;
  }
  return table.bad_count() == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(parse(argc, argv));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "fault_matrix: %s\n", error.what());
    return 2;
  }
}
