#include "backend/cuda/plugin/device.hpp"

#include <cuda_runtime_api.h>

#include <memory>
#include <new>

#include "backend/cuda/plugin/memory.hpp"

namespace cohort::cuda {

namespace {

Status find_device(std::uint32_t index, CUdevice* device) noexcept {
  if (const Status status = load_driver(); !is_ok(status)) return status;
  int count = 0;
  COHORT_DRIVER_TRY(cuDeviceGetCount, &count);
  if (index >= static_cast<std::uint32_t>(count)) {
    return failure(Status::Code::usage, "there is no CUDA device %u: this process sees %d", index,
                   count);
  }
  COHORT_DRIVER_TRY(cuDeviceGet, device, static_cast<int>(index));
  return succeeded();
}

template <typename Number>
Status read(CUdevice device, CUdevice_attribute attribute, Number* number) noexcept {
  int value = 0;
  COHORT_DRIVER_TRY(cuDeviceGetAttribute, &value, attribute, device);
  *number = static_cast<Number>(value);
  return succeeded();
}

struct Wanted {
  CUdevice_attribute attribute;
  std::uint32_t* number;
};

Status fill_device(Device& device, Status (*load_kernels)()) noexcept {
  const ContextScope scope(device);
  if (!is_ok(scope.status())) return scope.status();
  const CaptureIgnored ignored;
  if (const Status status =
          read(device.device, CU_DEVICE_ATTRIBUTE_GPU_DIRECT_RDMA_WITH_CUDA_VMM_SUPPORTED,
               &device.rdma_capable);
      !is_ok(status)) {
    return status;
  }
  const CUmemAllocationProp memory = memory_kind(device);
  COHORT_DRIVER_TRY(cuMemGetAllocationGranularity, &device.granule_bytes, &memory,
                    CU_MEM_ALLOC_GRANULARITY_RECOMMENDED);
  int lowest = 0;
  int highest = 0;
  COHORT_DRIVER_TRY(cuCtxGetStreamPriorityRange, &lowest, &highest);
  COHORT_DRIVER_TRY(cuStreamCreateWithPriority, &device.copies, CU_STREAM_NON_BLOCKING, lowest);
  COHORT_DRIVER_TRY(cuStreamCreateWithPriority, &device.words, CU_STREAM_NON_BLOCKING, highest);
  COHORT_DRIVER_TRY(cuMemAlloc, &device.differs, sizeof(std::uint32_t));
  if (const Status status = touch_memory_functions(device); !is_ok(status)) return status;
  return load_kernels();
}

}  // namespace

ContextScope::ContextScope(const Device& device) noexcept {
  CUcontext current = nullptr;
  status_ = status_of("cuCtxGetCurrent", driver().cuCtxGetCurrent(&current));
  if (!is_ok(status_) || current == device.context) return;
  status_ = status_of("cuCtxPushCurrent", driver().cuCtxPushCurrent(device.context));
  pushed_ = is_ok(status_);
}

ContextScope::~ContextScope() {
  CUcontext popped = nullptr;
  if (pushed_) driver().cuCtxPopCurrent(&popped);
}

CaptureIgnored::CaptureIgnored() noexcept {
  exchanged_ = driver().cuThreadExchangeStreamCaptureMode(&mode_) == CUDA_SUCCESS;
}

CaptureIgnored::~CaptureIgnored() {
  if (exchanged_) driver().cuThreadExchangeStreamCaptureMode(&mode_);
}

Status device_count(std::uint32_t* count) {
  *count = 0;
  if (const Status status = load_driver(); !is_ok(status)) return status;
  int found = 0;
  COHORT_DRIVER_TRY(cuDeviceGetCount, &found);
  *count = static_cast<std::uint32_t>(found);
  return succeeded();
}

Status describe(std::uint32_t index, DeviceFacts* facts) {
  *facts = {};
  CUdevice device = 0;
  if (const Status status = find_device(index, &device); !is_ok(status)) return status;
  COHORT_DRIVER_TRY(cuDeviceGetName, facts->name, sizeof facts->name, device);
  COHORT_DRIVER_TRY(cuDeviceGetPCIBusId, facts->pci, sizeof facts->pci, device);
  std::size_t bytes = 0;
  COHORT_DRIVER_TRY(cuDeviceTotalMem, &bytes, device);
  facts->memory_bytes = bytes;
  for (const Wanted& wanted :
       {Wanted{CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, &facts->compute_major},
        Wanted{CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, &facts->compute_minor},
        Wanted{CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, &facts->multiprocessors},
        Wanted{CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR,
               &facts->threads_per_multiprocessor}}) {
    const Status status = read(device, wanted.attribute, wanted.number);
    if (!is_ok(status)) return status;
  }
  int version = 0;
  COHORT_DRIVER_TRY(cuDriverGetVersion, &version);
  facts->driver_version = static_cast<std::uint32_t>(version);
  facts->runtime_version = CUDART_VERSION;
  return read(device, CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR_SUPPORTED,
              &facts->posix_handles);
}

Status describe_link(std::uint32_t index, std::uint32_t peer, LinkFacts* facts) {
  *facts = {};
  CUdevice from = 0;
  CUdevice to = 0;
  if (const Status status = find_device(index, &from); !is_ok(status)) return status;
  if (const Status status = find_device(peer, &to); !is_ok(status)) return status;
  if (from == to) {
    *facts = {.can_access = true, .native_atomics = true, .performance_rank = 0};
    return succeeded();
  }
  int value = 0;
  COHORT_DRIVER_TRY(cuDeviceGetP2PAttribute, &value, CU_DEVICE_P2P_ATTRIBUTE_ACCESS_SUPPORTED, from,
                    to);
  facts->can_access = value != 0;
  COHORT_DRIVER_TRY(cuDeviceGetP2PAttribute, &value,
                    CU_DEVICE_P2P_ATTRIBUTE_NATIVE_ATOMIC_SUPPORTED, from, to);
  facts->native_atomics = value != 0;
  COHORT_DRIVER_TRY(cuDeviceGetP2PAttribute, &value, CU_DEVICE_P2P_ATTRIBUTE_PERFORMANCE_RANK, from,
                    to);
  facts->performance_rank = value;
  return succeeded();
}

Status open_device(std::uint32_t index, Status (*load_kernels)(), Device** opened) {
  *opened = nullptr;
  CUdevice found = 0;
  if (const Status status = find_device(index, &found); !is_ok(status)) return status;
  bool posix_handles = false;
  if (const Status status = read(
          found, CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR_SUPPORTED, &posix_handles);
      !is_ok(status)) {
    return status;
  }
  if (!posix_handles) {
    return failure(Status::Code::unsupported,
                   "memory of CUDA device %u cannot be passed on as a file descriptor", index);
  }
  std::unique_ptr<Device> device(new (std::nothrow) Device);
  if (!device) return failure(Status::Code::out_of_memory, "no host memory for a device's record");
  device->device = found;
  COHORT_DRIVER_TRY(cuDevicePrimaryCtxRetain, &device->context, found);
  if (const Status status = fill_device(*device, load_kernels); !is_ok(status)) {
    close_device(device.release());
    return status;
  }
  *opened = device.release();
  return succeeded();
}

void close_device(Device* device) {
  if (device == nullptr) return;
  {
    const ContextScope scope(*device);
    if (device->differs != 0) driver().cuMemFree(device->differs);
    if (device->copies != nullptr) driver().cuStreamDestroy(device->copies);
    if (device->words != nullptr) driver().cuStreamDestroy(device->words);
  }
  driver().cuDevicePrimaryCtxRelease(device->device);
  delete device;
}

Status is_done(Device* device, StreamHandle stream, bool* done) {
  const ContextScope scope(*device);
  if (!is_ok(scope.status())) return scope.status();
  const CaptureIgnored ignored;
  const CUresult result = driver().cuStreamQuery(static_cast<CUstream>(stream));
  *done = result == CUDA_SUCCESS;
  return result == CUDA_ERROR_NOT_READY ? succeeded() : status_of("cuStreamQuery", result);
}

// A stream of a context's own needs no current context to be asked, so that is left out: every call
// asks. The two streams that all contexts have do need it.
Status is_capturing(Device* device, StreamHandle stream, bool* capturing) {
  const auto asked = static_cast<CUstream>(stream);
  CUstreamCaptureStatus capture = CU_STREAM_CAPTURE_STATUS_NONE;
  if (asked == CU_STREAM_LEGACY || asked == CU_STREAM_PER_THREAD ||
      driver().cuStreamIsCapturing(asked, &capture) != CUDA_SUCCESS) {
    const ContextScope scope(*device);
    if (!is_ok(scope.status())) return scope.status();
    COHORT_DRIVER_TRY(cuStreamIsCapturing, asked, &capture);
  }
  *capturing = capture != CU_STREAM_CAPTURE_STATUS_NONE;
  return succeeded();
}

}  // namespace cohort::cuda
