#pragma once

// How the plugin says what went wrong. Shared by all of the plugin; nothing of it throws.

#include <cuda.h>
#include <cuda_runtime_api.h>

#include "backend/cuda/abi.hpp"

namespace cohort::cuda {

inline Status succeeded() noexcept {
  return {};
}
inline bool is_ok(const Status& status) noexcept {
  return status.code == Status::Code::ok;
}

/// A line made as printf does; cut where it does not fit.
[[gnu::format(printf, 2, 3)]] Status failure(Status::Code code, const char* format, ...) noexcept;

/// "cudaMemcpy: invalid argument (cudaErrorInvalidValue)"; ok if there is no error. Lack of memory
/// and what a device cannot do have codes of their own.
Status status_of(const char* call, cudaError_t error) noexcept;
Status status_of(const char* call, CUresult error) noexcept;

}  // namespace cohort::cuda

/// Leaves the function with a Status unless the call goes well: COHORT_CUDA_TRY(cudaMemcpy, to,
/// ...).
#define COHORT_CUDA_TRY(function, ...)                                                  \
  do {                                                                                  \
    const auto cohort_error = function(__VA_ARGS__);                                    \
    if (static_cast<int>(cohort_error) != 0) return status_of(#function, cohort_error); \
  } while (false)
