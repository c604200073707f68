#include <utility>

#include <cohort/error.hpp>

namespace cohort {

std::string_view to_string(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::usage: return "usage";
    case ErrorCode::corrupt: return "corrupt";
    case ErrorCode::unsupported: return "unsupported";
    case ErrorCode::mismatch: return "mismatch";
    case ErrorCode::out_of_memory: return "out_of_memory";
    case ErrorCode::timeout: return "timeout";
    case ErrorCode::peer_failed: return "peer_failed";
    case ErrorCode::strict_miss: return "strict_miss";
    case ErrorCode::system: return "system";
    case ErrorCode::cuda: return "cuda";
    case ErrorCode::nccl: return "nccl";
  }
  return "unknown";
}

Error::Error(ErrorCode code, const std::string& message, std::optional<WorldRank> rank,
             std::string phase)
    : std::runtime_error(message), code_(code), rank_(rank), phase_(std::move(phase)) {}

int Error::exit_code() const noexcept {
  switch (code_) {
    case ErrorCode::usage:
    case ErrorCode::corrupt:
    case ErrorCode::unsupported: return 2;
    default: return 1;
  }
}

}  // namespace cohort
