#pragma once

// Devices: what they are, and how this process holds one.

#include <cuda.h>

#include <cstddef>
#include <cstdint>

#include "backend/cuda/abi.hpp"
#include "backend/cuda/plugin/driver.hpp"

namespace cohort::cuda {

/// Never changes between `open` and `close`, so any thread may use it.
struct Device {
  CUdevice device = 0;
  CUcontext context = nullptr;
  std::size_t granule_bytes = 0;
  bool rdma_capable = false;
  /// Neither waits for the legacy stream. Words get a stream of their own: what goes behind a long
  /// copy would come late.
  CUstream copies = nullptr;
  CUstream words = nullptr;
  /// One word, for what a kernel found; used in `copies`.
  CUdeviceptr differs = 0;
};

/// Makes the device's context current while it lives, if it is not already.
class ContextScope {
 public:
  explicit ContextScope(const Device& device) noexcept;
  ~ContextScope();
  ContextScope(const ContextScope&) = delete;
  ContextScope& operator=(const ContextScope&) = delete;

  const Status& status() const noexcept { return status_; }

 private:
  Status status_;
  bool pushed_ = false;
};

/// Lets this thread wait and allocate while it, or another thread, captures a graph: what is done
/// here has nothing to do with that graph.
class CaptureIgnored {
 public:
  CaptureIgnored() noexcept;
  ~CaptureIgnored();
  CaptureIgnored(const CaptureIgnored&) = delete;
  CaptureIgnored& operator=(const CaptureIgnored&) = delete;

 private:
  CUstreamCaptureMode mode_ = CU_STREAM_CAPTURE_MODE_RELAXED;
  bool exchanged_ = false;
};

Status device_count(std::uint32_t* count);
Status describe(std::uint32_t device, DeviceFacts* facts);
Status describe_link(std::uint32_t device, std::uint32_t peer, LinkFacts* facts);
/// `load_kernels` is called with the device's context current.
Status open_device(std::uint32_t device, Status (*load_kernels)(), Device** opened);
void close_device(Device* device);
Status is_done(Device* device, StreamHandle stream, bool* done);
Status is_capturing(Device* device, StreamHandle stream, bool* capturing);

}  // namespace cohort::cuda
