#pragma once

// NCCL as it was found on this machine: a table of its functions.

#include <nccl.h>

#include "backend/cuda/nccl/abi.hpp"

namespace cohort::cuda::nccl {

struct NcclLibrary {
  decltype(&ncclGetVersion) get_version;
  decltype(&ncclGetErrorString) error_string;
  decltype(&ncclGetLastError) last_error;
  decltype(&ncclGetUniqueId) get_unique_id;
  decltype(&ncclGroupStart) group_start;
  decltype(&ncclGroupEnd) group_end;
  decltype(&ncclCommInitRankConfig) init_rank;
  decltype(&ncclCommGetAsyncError) async_error;
  decltype(&ncclCommWindowRegister) window_register;
  decltype(&ncclCommWindowDeregister) window_deregister;
  decltype(&ncclCommFinalize) finalize;
  decltype(&ncclCommDestroy) destroy;
  decltype(&ncclCommAbort) abort;
  decltype(&ncclAllReduce) all_reduce;
  decltype(&ncclAllGather) all_gather;
  decltype(&ncclReduceScatter) reduce_scatter;
  decltype(&ncclBroadcast) broadcast;
  decltype(&ncclAlltoAll) all_to_all;
};

/// Loads NCCL on the first call; later calls answer the same. Any thread.
Status load_library(LibraryFacts* facts) noexcept;
/// Requires: `load_library` went well.
const NcclLibrary& library() noexcept;

}  // namespace cohort::cuda::nccl
