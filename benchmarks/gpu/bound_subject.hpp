#pragma once

#include <memory>
#include <vector>

#include "arena.hpp"
#include "graph_subject.hpp"

namespace cohort::gpu_bench {

/// What no collective can beat, measured in the same rounds: "push" stores the bytes that a rank
/// must pass on, all ranks at once and without an answer; "exchange" is one flag to the next rank
/// and one from the rank before; "empty" is a kernel that does nothing. The least time of a call is
/// push + exchange - empty. Local.
std::vector<std::unique_ptr<Subject>> bound_subjects(Ranks& ranks, Gpu& gpu, const Arena& arena);

}  // namespace cohort::gpu_bench
