#pragma once

// Finds libcohort_cuda.so when somebody wants a GPU. Nothing of the library links it: without the
// file, a driver or a device everything but GPUs works.

#include <span>
#include <string>
#include <vector>

#include "backend/cuda/abi.hpp"
#include "backend/cuda/nccl/abi.hpp"

namespace cohort::cuda {

/// A plugin, or in one line why there is none.
struct LoadedPlugin {
  const Api* api = nullptr;
  const nccl::Api* nccl = nullptr;  ///< null where the plugin was built without NCCL
  std::string path;     ///< of the file that was loaded or refused; empty if none was found
  std::string missing;  ///< empty if there is an api
};

/// Where the plugin may lie: the file that the environment's COHORT_CUDA_PLUGIN names and nothing
/// else, or beside this library, beside the executable, where it is installed, and at last by its
/// bare name, which the system's search path completes. Local.
std::vector<std::string> plugin_candidates();

/// Loads the first candidate that exists. What is loaded stays. Local.
LoadedPlugin load_plugin(std::span<const std::string> candidates);

/// The plugin of this process: looked for once, by the first caller. Local; any thread.
const LoadedPlugin& loaded_plugin();

/// The plugin's table, if there is a device that it can use. Initialises CUDA: a process that forks
/// later cannot use it in the child. Throws: Error{unsupported} saying what is missing.
const Api& require_devices();

}  // namespace cohort::cuda
