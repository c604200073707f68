#pragma once

#include <memory>
#include <vector>

#include "graph_subject.hpp"
#include "output.hpp"

namespace cohort::gpu_bench {

/// cohort's public API:
///   cohort          the path that its table chooses, operands in slots of the heap
///   cohort_outside  the same, operands in cudaMalloc memory
///   cohort_<path>   every call pinned to one path
/// The plugin is that of COHORT_CUDA_PLUGIN. Adds to `facts` what asking for a path costs, and what
/// was registered after commit. Collective. Throws: cohort::Error.
std::vector<std::unique_ptr<Subject>> cohort_subjects(Ranks& ranks, Gpu& gpu, Json& facts);

}  // namespace cohort::gpu_bench
