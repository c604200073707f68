#pragma once

#include <memory>
#include <string>
#include <vector>

#include "ranks.hpp"
#include "subject.hpp"

namespace cohort::gpu_bench {

/// PyTorch's symmetric memory: a Python process beside each rank, on the same GPU, that captures,
/// checks and replays on request, in the same rounds as everybody else.
class TorchProcess;

/// Starts the process. `store` is a file, not there yet, where the ranks' processes meet. Local.
/// Throws: std::runtime_error.
std::shared_ptr<TorchProcess> start_torch(const Ranks& ranks, const std::string& script,
                                          const std::string& store);

/// "torch_one_shot", "torch_two_shot" and what else this PyTorch has. Waits until the process has
/// met its peers. `version` becomes PyTorch's. Throws: std::runtime_error.
std::vector<std::unique_ptr<Subject>> torch_subjects(const std::shared_ptr<TorchProcess>& process,
                                                     std::string& version);

}  // namespace cohort::gpu_bench
