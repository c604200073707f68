#include "backend/cuda/plugin/status.hpp"

#include <cstdarg>
#include <cstdio>

namespace cohort::cuda {

namespace {

Status::Code code_of(cudaError_t error) noexcept {
  switch (error) {
    case cudaSuccess: return Status::Code::ok;
    case cudaErrorMemoryAllocation: return Status::Code::out_of_memory;
    case cudaErrorNotSupported:
    case cudaErrorNoDevice:
    case cudaErrorInsufficientDriver:
    case cudaErrorNoKernelImageForDevice: return Status::Code::unsupported;
    default: return Status::Code::failed;
  }
}

}  // namespace

Status failure(Status::Code code, const char* format, ...) noexcept {
  Status status;
  status.code = code;
  std::va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(status.text, sizeof status.text, format, arguments);
  va_end(arguments);
  return status;
}

Status status_of(const char* call, cudaError_t error) noexcept {
  if (error == cudaSuccess) return succeeded();
  return failure(code_of(error), "%s: %s (%s)", call, cudaGetErrorString(error),
                 cudaGetErrorName(error));
}

// The runtime's errors have the driver's numbers since CUDA 10.1, and its texts need no libcuda.
Status status_of(const char* call, CUresult error) noexcept {
  return status_of(call, static_cast<cudaError_t>(error));
}

}  // namespace cohort::cuda
