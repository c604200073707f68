#pragma once

// What this process can find out about GPUs, their driver and NCCL.

#include <optional>
#include <string>
#include <vector>

#include "backend/cuda/abi.hpp"
#include "backend/cuda/nccl/version.hpp"
#include "backend/cuda/plugin_loader.hpp"

namespace cohort::check {

/// Texts are empty where there is nothing to say.
struct GpuFacts {
  std::vector<std::string> cards;  ///< PCI addresses of NVIDIA's, with or without a driver
  bool has_driver = false;         ///< libcuda.so.1 can be loaded
  std::string plugin;              ///< the file of the GPU plugin that was loaded
  std::string missing;             ///< why there are no devices below
  std::vector<cuda::DeviceFacts> devices;
  /// By device and peer. Empty if `link_problem` says why nothing is known.
  std::vector<std::vector<cuda::LinkFacts>> links;
  std::string link_problem;
  std::optional<cuda::nccl::Version> nccl;
  std::string nccl_missing;  ///< why there is none
};

/// Asks the system, the plugin and NCCL. Initialises CUDA: fork no process afterwards that is to
/// use it.
GpuFacts read_gpu_facts();
/// What a plugin says, or what its absence does. Local.
GpuFacts ask_plugin(const cuda::LoadedPlugin& plugin);

/// What `ncclGetVersion` says; 2.8 and older counted otherwise. Pure.
cuda::nccl::Version nccl_version_of(int code) noexcept;

}  // namespace cohort::check
