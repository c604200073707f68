#pragma once

#include <cohort/error.hpp>

#include "backend/cuda/abi.hpp"

namespace cohort::cuda {

/// What a status of the plugin's tables is called elsewhere; `failed` is CUDA's name or NCCL's for
/// everything that has none of its own.
constexpr ErrorCode error_code_of(Status::Code code, ErrorCode failed) noexcept {
  switch (code) {
    case Status::Code::usage: return ErrorCode::usage;
    case Status::Code::out_of_memory: return ErrorCode::out_of_memory;
    case Status::Code::unsupported: return ErrorCode::unsupported;
    case Status::Code::ok:
    case Status::Code::failed: break;
  }
  return failed;
}

}  // namespace cohort::cuda
