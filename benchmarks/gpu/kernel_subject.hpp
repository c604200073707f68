#pragma once

#include <memory>
#include <string>
#include <vector>

#include "graph_subject.hpp"

namespace cohort::gpu_bench {

/// cohort's kernels alone, launched through the plugin's table without session, plan or ledger:
/// "kernel_flags", "kernel_once", "kernel_two_shot", "kernel_split", "kernel_fused" and
/// "kernel_fused_4", in which four blocks take a row together. What the library adds to them is the
/// difference to its own paths. Collective. `plugin` is the file of libcohort_cuda.so.
/// Throws: std::runtime_error.
std::vector<std::unique_ptr<Subject>> kernel_subjects(Ranks& ranks, Gpu& gpu,
                                                      const std::string& plugin);

}  // namespace cohort::gpu_bench
