#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "point.hpp"

namespace cohort::gpu_bench {

struct Options {
  std::uint32_t ranks = 2;
  std::vector<Operation> operations{Operation::all_reduce};
  std::vector<DType> dtypes{DType::bf16};
  std::vector<std::uint64_t> sizes;
  std::vector<bool> rotating{false, true};
  std::uint32_t rounds = 11;
  double replay_us = 1000;
  double seconds = 120;  ///< the whole program; then it ends, and what was measured is there
  std::string out;       ///< file for one JSON document a line; standard output if empty
  std::string nccl;      ///< file of NCCL; the usual search if empty
  std::string plugin;    ///< file of libcohort_cuda.so; without it its paths are left out
  std::string torch;     ///< file of torch_peer.py; without it PyTorch is left out
  bool help = false;
};

/// Throws: std::runtime_error naming the flag.
Options parse_options(int count, char** arguments);
const char* usage() noexcept;

}  // namespace cohort::gpu_bench
