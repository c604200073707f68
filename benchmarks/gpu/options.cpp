#include "options.hpp"

#include <map>
#include <sstream>
#include <stdexcept>

namespace cohort::gpu_bench {
namespace {

std::vector<std::string> split(const std::string& list) {
  std::vector<std::string> parts;
  std::istringstream stream(list);
  for (std::string part; std::getline(stream, part, ',');) parts.push_back(part);
  if (parts.empty()) throw std::runtime_error("an empty list");
  return parts;
}

double number(const std::string& text) {
  std::size_t used = 0;
  const double value = std::stod(text, &used);
  if (used != text.size() || !(value > 0)) throw std::runtime_error("no number above 0: " + text);
  return value;
}

DType parse_dtype(const std::string& name) {
  if (name == "bf16") return DType::bf16;
  if (name == "f16") return DType::f16;
  if (name == "f32") return DType::f32;
  throw std::runtime_error("bf16, f16 and f32 can be measured, not '" + name + "'");
}

/// Bytes: "65536", or "1024..8388608" for powers of two.
void add_sizes(const std::string& text, std::vector<std::uint64_t>& sizes) {
  const std::size_t dots = text.find("..");
  const auto first = static_cast<std::uint64_t>(number(text.substr(0, dots)));
  const auto last =
      dots == std::string::npos ? first : static_cast<std::uint64_t>(number(text.substr(dots + 2)));
  for (std::uint64_t bytes = first; bytes <= last; bytes *= 2) sizes.push_back(bytes);
}

void set(Options& options, const std::string& flag, const std::string& value) {
  if (flag == "--ranks") {
    options.ranks = static_cast<std::uint32_t>(number(value));
  } else if (flag == "--operations") {
    options.operations.clear();
    for (const std::string& name : split(value))
      options.operations.push_back(parse_operation(name));
  } else if (flag == "--dtypes") {
    options.dtypes.clear();
    for (const std::string& name : split(value)) options.dtypes.push_back(parse_dtype(name));
  } else if (flag == "--bytes") {
    options.sizes.clear();
    for (const std::string& part : split(value)) add_sizes(part, options.sizes);
  } else if (flag == "--buffers") {
    options.rotating.clear();
    for (const std::string& name : split(value)) {
      if (name != "warm" && name != "rotating") throw std::runtime_error("warm or rotating");
      options.rotating.push_back(name == "rotating");
    }
  } else if (flag == "--rounds") {
    options.rounds = static_cast<std::uint32_t>(number(value));
  } else if (flag == "--replay-us") {
    options.replay_us = number(value);
  } else if (flag == "--seconds") {
    options.seconds = number(value);
  } else {
    const std::map<std::string, std::string Options::*> files{{"--out", &Options::out},
                                                              {"--nccl", &Options::nccl},
                                                              {"--plugin", &Options::plugin},
                                                              {"--torch", &Options::torch}};
    const auto found = files.find(flag);
    if (found == files.end()) throw std::runtime_error("there is no such flag");
    options.*found->second = value;
  }
}

}  // namespace

Options parse_options(int count, char** arguments) {
  Options options;
  for (int i = 1; i < count; ++i) {
    const std::string flag = arguments[i];
    if (flag == "--help") {
      options.help = true;
      return options;
    }
    try {
      if (++i == count) throw std::runtime_error("a value is missing");
      set(options, flag, arguments[i]);
    } catch (const std::exception& error) {
      throw std::runtime_error(flag + ": " + error.what());
    }
  }
  if (options.sizes.empty()) add_sizes("1024..134217728", options.sizes);
  return options;
}

const char* usage() noexcept {
  return "cohort_gpu_bench: collectives of GPUs, cohort and its peers side by side\n"
         "  --ranks N                GPUs, one process for each (2)\n"
         "  --operations LIST        all_reduce, all_gather, reduce_scatter, all_gatherv,\n"
         "                           reduce_scatterv, all_reduce_norm, layer_step,\n"
         "                           layer_step_tp\n"
         "  --dtypes LIST            bf16, f16, f32\n"
         "  --bytes LIST             1024..134217728 for powers of two; rows of 7168 of the last\n"
         "                           three operations\n"
         "  --buffers LIST           warm, rotating\n"
         "  --rounds N  --replay-us US  --seconds S\n"
         "  --out FILE               one JSON document a line\n"
         "  --nccl FILE  --plugin FILE  --torch FILE\n";
}

}  // namespace cohort::gpu_bench
