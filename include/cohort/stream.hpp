#pragma once

namespace cohort {

/// A stream of a GPU: a `cudaStream_t` as plain data, so that no CUDA header is needed here. Null
/// is the legacy default stream. Whoever made it keeps it alive until its work has ended.
struct Stream {
  void* handle = nullptr;
  friend bool operator==(Stream, Stream) = default;
};

}  // namespace cohort
