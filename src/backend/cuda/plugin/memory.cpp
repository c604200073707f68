#include "backend/cuda/plugin/memory.hpp"

#include <cstring>

namespace cohort::cuda {

namespace {

/// Enters the device for the rest of the function.
#define COHORT_ENTER(device)                         \
  const ContextScope scope(*(device));               \
  if (!is_ok(scope.status())) return scope.status(); \
  const CaptureIgnored ignored

Status touch(const Device& device, CUdeviceptr memory, std::size_t half) noexcept {
  COHORT_DRIVER_TRY(cuMemsetD32Async, memory, 0, half / 4, device.copies);
  COHORT_DRIVER_TRY(cuMemcpyAsync, memory, memory + half, half, device.copies);
  std::uint32_t word = 0;
  const auto host = reinterpret_cast<CUdeviceptr>(&word);
  COHORT_DRIVER_TRY(cuMemcpyAsync, host, memory, sizeof word, device.copies);
  COHORT_DRIVER_TRY(cuMemcpyAsync, memory, host, sizeof word, device.copies);
  COHORT_DRIVER_TRY(cuStreamWriteValue32, device.words, memory + half, 1,
                    CU_STREAM_WRITE_VALUE_DEFAULT);
  COHORT_DRIVER_TRY(cuStreamSynchronize, device.words);
  return wait_for_copies(device);
}

}  // namespace

Status wait_for_copies(const Device& device) noexcept {
  COHORT_DRIVER_TRY(cuStreamSynchronize, device.copies);
  return succeeded();
}

CUmemAllocationProp memory_kind(const Device& device) noexcept {
  CUmemAllocationProp kind = {};
  kind.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  kind.requestedHandleTypes = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;
  kind.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
  kind.location.id = device.device;
  kind.allocFlags.gpuDirectRDMACapable = device.rdma_capable ? 1 : 0;
  return kind;
}

Status touch_memory_functions(const Device& device) noexcept {
  constexpr std::size_t kHalf = 1 << 16;
  CUdeviceptr memory = 0;
  COHORT_DRIVER_TRY(cuMemAlloc, &memory, 2 * kHalf);
  const Status status = touch(device, memory, kHalf);
  driver().cuMemFree(memory);
  return status;
}

Status granule(Device* device, std::size_t* bytes) {
  *bytes = device->granule_bytes;
  return succeeded();
}

Status reserve(Device* device, std::size_t bytes, Address* address) {
  COHORT_ENTER(device);
  CUdeviceptr found = 0;
  COHORT_DRIVER_TRY(cuMemAddressReserve, &found, bytes, device->granule_bytes, 0, 0);
  *address = found;
  return succeeded();
}

void free_range(Device* device, Address address, std::size_t bytes) {
  const ContextScope scope(*device);
  driver().cuMemAddressFree(address, bytes);
}

Status create(Device* device, std::size_t bytes, MemoryHandle* memory) {
  COHORT_ENTER(device);
  const CUmemAllocationProp kind = memory_kind(*device);
  CUmemGenericAllocationHandle handle = 0;
  COHORT_DRIVER_TRY(cuMemCreate, &handle, bytes, &kind, 0);
  *memory = handle;
  return succeeded();
}

Status export_fd(Device* device, MemoryHandle memory, int* fd) {
  COHORT_ENTER(device);
  *fd = -1;
  COHORT_DRIVER_TRY(cuMemExportToShareableHandle, fd, memory,
                    CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR, 0);
  return succeeded();
}

Status import_fd(Device* device, int fd, MemoryHandle* memory) {
  COHORT_ENTER(device);
  CUmemGenericAllocationHandle handle = 0;
  // The driver takes the descriptor itself where it wants a pointer.
  void* descriptor = reinterpret_cast<void*>(static_cast<std::intptr_t>(fd));  // NOLINT
  COHORT_DRIVER_TRY(cuMemImportFromShareableHandle, &handle, descriptor,
                    CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR);
  *memory = handle;
  return succeeded();
}

void destroy(Device* device, MemoryHandle memory) {
  const ContextScope scope(*device);
  driver().cuMemRelease(memory);
}

Status map(Device* device, Address address, std::size_t bytes, MemoryHandle memory) {
  COHORT_ENTER(device);
  COHORT_DRIVER_TRY(cuMemMap, address, bytes, 0, memory, 0);
  CUmemAccessDesc access = {};
  access.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
  access.location.id = device->device;
  access.flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
  const CUresult result = driver().cuMemSetAccess(address, bytes, &access, 1);
  if (result != CUDA_SUCCESS) driver().cuMemUnmap(address, bytes);
  return status_of("cuMemSetAccess", result);
}

void unmap(Device* device, Address address, std::size_t bytes) {
  const ContextScope scope(*device);
  driver().cuMemUnmap(address, bytes);
}

Status fill(Device* device, Address address, std::uint32_t word, std::size_t bytes) {
  if (bytes % sizeof word != 0) {
    return failure(Status::Code::usage, "a fill of %zu bytes: not a multiple of 4", bytes);
  }
  if (bytes == 0) return succeeded();
  COHORT_ENTER(device);
  COHORT_DRIVER_TRY(cuMemsetD32Async, address, word, bytes / sizeof word, device->copies);
  return wait_for_copies(*device);
}

Status copy(Device* device, Address to, Address from, std::size_t bytes) {
  if (bytes == 0) return succeeded();
  COHORT_ENTER(device);
  COHORT_DRIVER_TRY(cuMemcpyAsync, to, from, bytes, device->copies);
  return wait_for_copies(*device);
}

Status allocate_mapped(Device* device, std::size_t bytes, void** host, Address* address) {
  COHORT_ENTER(device);
  void* memory = nullptr;
  COHORT_DRIVER_TRY(cuMemHostAlloc, &memory, bytes,
                    CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP);
  std::memset(memory, 0, bytes);
  CUdeviceptr mapped = 0;
  const CUresult result = driver().cuMemHostGetDevicePointer(&mapped, memory, 0);
  if (result != CUDA_SUCCESS) {
    driver().cuMemFreeHost(memory);
    return status_of("cuMemHostGetDevicePointer", result);
  }
  *host = memory;
  *address = mapped;
  return succeeded();
}

void free_mapped(Device* device, void* host) {
  const ContextScope scope(*device);
  driver().cuMemFreeHost(host);
}

// The device's front end does the store, so no multiprocessor has to be free for it. A memset of
// one word was as quick beside a kernel that fills the device, but nothing says that it is no
// kernel.
Status poke(Device* device, Address address, std::uint32_t word) {
  COHORT_ENTER(device);
  COHORT_DRIVER_TRY(cuStreamWriteValue32, device->words, address, word,
                    CU_STREAM_WRITE_VALUE_DEFAULT);
  return succeeded();
}

}  // namespace cohort::cuda
