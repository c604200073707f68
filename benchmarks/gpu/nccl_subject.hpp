#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "arena.hpp"
#include "graph_subject.hpp"

namespace cohort::gpu_bench {

/// NCCL in four forms, which differ only in where operands lie:
///   nccl_symmetric    in a window of the communicator, over memory of our own
///   nccl_memalloc     in a window of the communicator, over ncclMemAlloc memory
///   nccl_wrong_group  in the first window, on another communicator over the same ranks
///   nccl_plain        in cudaMalloc memory
/// Collective. `library` is a file, or empty for the usual search. `version` becomes NCCL's.
/// Throws: std::runtime_error if there is no NCCL or it fails.
std::vector<std::unique_ptr<Subject>> nccl_subjects(Ranks& ranks, Gpu& gpu, const Arena& arena,
                                                    const std::string& library, int& version);

}  // namespace cohort::gpu_bench
