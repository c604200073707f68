// Runs random programs under as many simulated schedules as asked for, and says how fast.
//   sim_schedules [--seeds N] [--first SEED] [--ranks 2..8] [--leave-out STEP]
//   sim_schedules --mutations N [--first SEED] [--ranks 2..8]
// The second form changes one rank's program each time, checks that the job ends as it must, and
// runs it once more without comparing headers, to count what would have gone unnoticed.
// Ends with 1 and the seed, the ranks and the schedule of the first run that went wrong. The same
// seed on the same ranks is the same run.

#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <stdexcept>
#include <string>
#include <string_view>

#include "sim/judge.hpp"
#include "sim/world.hpp"

namespace {

struct Options {
  std::uint64_t seeds = 1000;
  std::uint64_t first = 1;
  std::uint32_t ranks_min = 2;
  std::uint32_t ranks_max = 8;
  std::string left_out;
  bool mutates = false;
};

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; i += 2) {
    const std::string_view flag = argv[i];
    if (i + 1 == argc) throw std::invalid_argument(std::string(flag) + " needs a value");
    const std::string value = argv[i + 1];
    if (flag == "--seeds" || flag == "--mutations") {
      options.mutates = flag == "--mutations";
      options.seeds = std::stoull(value);
    } else if (flag == "--first") {
      options.first = std::stoull(value);
    } else if (flag == "--ranks") {
      const std::size_t dots = value.find("..");
      options.ranks_min = static_cast<std::uint32_t>(std::stoul(value));
      options.ranks_max = dots == std::string::npos
                              ? options.ranks_min
                              : static_cast<std::uint32_t>(std::stoul(value.substr(dots + 2)));
    } else if (flag == "--leave-out") {
      options.left_out = value;
    } else {
      throw std::invalid_argument("unknown flag " + std::string(flag));
    }
  }
  const bool sensible = options.ranks_min >= 2 && options.ranks_max <= 8 &&
                        options.ranks_min <= options.ranks_max && options.seeds >= 1;
  if (!sensible) throw std::invalid_argument("--ranks takes 2 to 8, --seeds at least 1");
  return options;
}

int run(const Options& options) {
  cohort::sim::Worlds worlds;
  const std::uint32_t sizes = options.ranks_max - options.ranks_min + 1;
  const auto began = std::chrono::steady_clock::now();
  const auto seconds = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  };
  std::uint64_t switches = 0;
  double told = 0;
  for (std::uint64_t i = 0; i < options.seeds; ++i) {
    const std::uint64_t seed = options.first + i;
    const std::uint64_t count = i + 1;
    const auto ranks = options.ranks_min + static_cast<std::uint32_t>(seed % sizes);
    const cohort::sim::RunEnd end = cohort::sim::run_random(worlds, ranks, seed, options.left_out);
    switches += end.switches;
    if (const std::string failure = end.failure(); !failure.empty()) {
      std::printf("seed %llu on %u ranks, schedule %llu of this run:\n%s",
                  static_cast<unsigned long long>(seed), ranks,
                  static_cast<unsigned long long>(count), failure.c_str());
      return 1;
    }
    if (seconds() < told + 5 && i + 1 != options.seeds) continue;
    told = seconds();
    std::printf("%llu schedules, %.0f a second, %llu switches between ranks\n",
                static_cast<unsigned long long>(count), static_cast<double>(i + 1) / told,
                static_cast<unsigned long long>(switches));
    std::fflush(stdout);
  }
  std::printf("every result equals the reference, and no rank ever hung\n");
  return 0;
}

/// Of one kind of mutation: how often jobs ended so, with and without comparing headers.
struct Tally {
  std::array<std::uint64_t, 3> foretold{};
  std::array<std::uint64_t, 4> unchecked{};  // of those that do not end well
};

void print(const char* name, const Tally& tally) {
  std::printf("%-10s", name);
  for (const std::uint64_t count : tally.foretold) {
    std::printf(" %9llu", static_cast<unsigned long long>(count));
  }
  std::printf("  |");
  for (const std::uint64_t count : tally.unchecked) {
    std::printf(" %9llu", static_cast<unsigned long long>(count));
  }
  std::printf("\n");
}

void print(const std::array<Tally, cohort::sim::kMutationKinds>& tallies) {
  std::printf("%-10s %9s %9s %9s  | %9s %9s %9s %9s\n", "mutation", "well", "mismatch", "timeout",
              "harmless", "silent", "hang", "guarded");
  Tally all;
  for (std::size_t kind = 0; kind < tallies.size(); ++kind) {
    print(to_string(static_cast<cohort::sim::MutationKind>(kind)), tallies[kind]);
    for (std::size_t i = 0; i < 3; ++i) all.foretold[i] += tallies[kind].foretold[i];
    for (std::size_t i = 0; i < 4; ++i) all.unchecked[i] += tallies[kind].unchecked[i];
  }
  print("all", all);
  const std::uint64_t noticed = all.foretold[1] + all.foretold[2];
  std::printf(
      "every mutation ended as it must, and no wrong result was returned\n"
      "without comparing headers %llu of %llu would have been silent\n",
      static_cast<unsigned long long>(all.unchecked[1]), static_cast<unsigned long long>(noticed));
}

int run_mutations(const Options& options) {
  cohort::sim::Worlds worlds;
  std::array<Tally, cohort::sim::kMutationKinds> tallies{};
  const std::uint32_t sizes = options.ranks_max - options.ranks_min + 1;
  for (std::uint64_t seed = options.first; seed < options.first + options.seeds; ++seed) {
    const auto ranks = options.ranks_min + static_cast<std::uint32_t>(seed % sizes);
    const auto mutation = cohort::sim::random_mutation(ranks, seed);
    const auto foretold = cohort::sim::foretell(mutation.layout, mutation.programs);
    const auto end = worlds.run(mutation.layout, foretold.programs, seed);
    const std::string wrong = cohort::sim::disagreement(mutation, foretold, end);
    if (!wrong.empty()) {
      std::printf("seed %llu on %u ranks: %s", static_cast<unsigned long long>(seed), ranks,
                  wrong.c_str());
      return 1;
    }
    Tally& tally = tallies[static_cast<std::size_t>(mutation.kind)];
    ++tally.foretold[static_cast<std::size_t>(foretold.outcome)];
    if (foretold.outcome == cohort::sim::Outcome::well) continue;
    const auto unchecked = worlds.run(mutation.layout, mutation.programs, seed, "headers");
    ++tally.unchecked[static_cast<std::size_t>(classify(unchecked))];
  }
  print(tallies);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const Options options = parse(argc, argv);
    return options.mutates ? run_mutations(options) : run(options);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "sim_schedules: %s\n", error.what());
    return 2;
  }
}
