#pragma once

// The functions of libcuda that the plugin calls, found at run time: a machine without a driver can
// load the plugin and be told so.

#include <cuda.h>

#include <cstddef>

#include "backend/cuda/plugin/status.hpp"

// The names are the driver's own, so that its documentation and our messages say the same.
// clang-format off
#define COHORT_DRIVER_FUNCTIONS(apply) \
  apply(cuInit) \
  apply(cuDriverGetVersion) \
  apply(cuDeviceGetCount) \
  apply(cuDeviceGet) \
  apply(cuDeviceGetName) \
  apply(cuDeviceGetPCIBusId) \
  apply(cuDeviceTotalMem) \
  apply(cuDeviceGetAttribute) \
  apply(cuDeviceGetP2PAttribute) \
  apply(cuDevicePrimaryCtxRetain) \
  apply(cuDevicePrimaryCtxRelease) \
  apply(cuCtxGetCurrent) \
  apply(cuCtxPushCurrent) \
  apply(cuCtxPopCurrent) \
  apply(cuCtxGetStreamPriorityRange) \
  apply(cuThreadExchangeStreamCaptureMode) \
  apply(cuStreamCreateWithPriority) \
  apply(cuStreamDestroy) \
  apply(cuStreamSynchronize) \
  apply(cuStreamQuery) \
  apply(cuStreamIsCapturing) \
  apply(cuStreamWriteValue32) \
  apply(cuMemGetAllocationGranularity) \
  apply(cuMemAddressReserve) \
  apply(cuMemAddressFree) \
  apply(cuMemCreate) \
  apply(cuMemRelease) \
  apply(cuMemExportToShareableHandle) \
  apply(cuMemImportFromShareableHandle) \
  apply(cuMemMap) \
  apply(cuMemUnmap) \
  apply(cuMemSetAccess) \
  apply(cuMemAlloc) \
  apply(cuMemFree) \
  apply(cuMemHostAlloc) \
  apply(cuMemFreeHost) \
  apply(cuMemHostGetDevicePointer) \
  apply(cuMemcpyAsync) \
  apply(cuMemsetD32Async) \
  apply(cuStreamBeginCapture) \
  apply(cuStreamEndCapture) \
  apply(cuGraphInstantiateWithFlags) \
  apply(cuGraphUpload) \
  apply(cuGraphLaunch) \
  apply(cuGraphDestroy) \
  apply(cuGraphExecDestroy) \
  apply(cuGraphRetainUserObject) \
  apply(cuUserObjectCreate) \
  apply(cuUserObjectRelease)
// clang-format on

namespace cohort::cuda {

struct Driver {
// NOLINTNEXTLINE(bugprone-macro-parentheses)
#define COHORT_DECLARE(name) decltype(&::name) name = nullptr;
  COHORT_DRIVER_FUNCTIONS(COHORT_DECLARE)
#undef COHORT_DECLARE
  /// cuStreamGetCaptureInfo in its form of 12.0; later headers mean another one by that name.
  CUresult (*capture_info)(CUstream stream, CUstreamCaptureStatus* status, cuuint64_t* id,
                           CUgraph* graph, const CUgraphNode** dependencies,
                           std::size_t* count) = nullptr;
};

/// Finds the driver and initialises it, once in a process. A process that forks afterwards cannot
/// use CUDA in the child.
Status load_driver() noexcept;
/// Requires: `load_driver` went well.
const Driver& driver() noexcept;

}  // namespace cohort::cuda

/// Leaves the function with a Status unless the driver's function succeeds.
#define COHORT_DRIVER_TRY(name, ...)                                           \
  do {                                                                         \
    const CUresult cohort_result = ::cohort::cuda::driver().name(__VA_ARGS__); \
    if (cohort_result != CUDA_SUCCESS) return status_of(#name, cohort_result); \
  } while (false)
