// Runs random programs under as many simulated schedules as asked for, and says how fast.
//   sim_schedules [--seeds N] [--first SEED] [--ranks 2..8] [--leave-out STEP]
// Ends with 1 and the seed, the ranks and the schedule of the first run that went wrong. The same
// seed on the same ranks is the same run.

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <stdexcept>
#include <string>
#include <string_view>

#include "sim/world.hpp"

namespace {

struct Options {
  std::uint64_t seeds = 1000;
  std::uint64_t first = 1;
  std::uint32_t ranks_min = 2;
  std::uint32_t ranks_max = 8;
  std::string left_out;
};

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; i += 2) {
    const std::string_view flag = argv[i];
    if (i + 1 == argc) throw std::invalid_argument(std::string(flag) + " needs a value");
    const std::string value = argv[i + 1];
    if (flag == "--seeds") {
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
    const auto ranks = options.ranks_min + static_cast<std::uint32_t>(seed % sizes);
    const cohort::sim::RunEnd end = cohort::sim::run_random(worlds, ranks, seed, options.left_out);
    switches += end.switches;
    if (const std::string failure = end.failure(); !failure.empty()) {
      std::printf("seed %llu on %u ranks, schedule %llu of this run:\n%s",
                  static_cast<unsigned long long>(seed), ranks,
                  static_cast<unsigned long long>(i + 1), failure.c_str());
      return 1;
    }
    if (seconds() < told + 5 && i + 1 != options.seeds) continue;
    told = seconds();
    std::printf("%llu schedules, %.0f a second, %llu switches between ranks\n",
                static_cast<unsigned long long>(i + 1), static_cast<double>(i + 1) / told,
                static_cast<unsigned long long>(switches));
    std::fflush(stdout);
  }
  std::printf("every result equals the reference, and no rank ever hung\n");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(parse(argc, argv));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "sim_schedules: %s\n", error.what());
    return 2;
  }
}
