#include "arena.hpp"

#include <cuda_runtime_api.h>

#include <cstdint>
#include <stdexcept>
#include <string>

#include "kernels.hpp"

namespace cohort::gpu_bench {
namespace {

/// A function of libcuda, which is loaded and never linked.
template <typename Function>
Function* driver(const char* name) {
  void* found = nullptr;
  cudaDriverEntryPointQueryResult result = cudaDriverEntryPointSymbolNotFound;
  require(cudaGetDriverEntryPointByVersion(name, &found, 12000, cudaEnableDefault, &result), name);
  if (found == nullptr) throw std::runtime_error(std::string("libcuda has no ") + name);
  return reinterpret_cast<Function*>(found);
}

template <typename Function, typename... Arguments>
void call(const char* name, Function* function, Arguments... arguments) {
  const CUresult result = function(arguments...);
  if (result != CUDA_SUCCESS)
    throw std::runtime_error(std::string(name) + ": CUDA error " + std::to_string(result));
}

#define COHORT_DRIVER(function, ...) \
  call(#function, driver<decltype(function)>(#function), __VA_ARGS__)

}  // namespace

// Process-long: the system takes everything back when the measurement ends.
Arena::Arena(Ranks& ranks, std::size_t bytes) : bytes_(bytes) {
  const int device = static_cast<int>(ranks.rank());
  CUmemAllocationProp properties{};
  properties.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  properties.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
  properties.location.id = device;
  properties.requestedHandleTypes = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;
  // NCCL registers nothing else as a window.
  int rdma = 0;
  COHORT_DRIVER(cuDeviceGetAttribute, &rdma,
                CU_DEVICE_ATTRIBUTE_GPU_DIRECT_RDMA_WITH_CUDA_VMM_SUPPORTED, device);
  properties.allocFlags.gpuDirectRDMACapable = static_cast<unsigned char>(rdma);

  CUmemGenericAllocationHandle own = 0;
  COHORT_DRIVER(cuMemCreate, &own, bytes, &properties, 0ULL);
  int descriptor = -1;
  COHORT_DRIVER(cuMemExportToShareableHandle, static_cast<void*>(&descriptor), own,
                CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR, 0ULL);
  const UniqueFd owned(descriptor);
  const std::vector<UniqueFd> others = ranks.exchange(owned.get());

  CUdeviceptr base = 0;
  COHORT_DRIVER(cuMemAddressReserve, &base, ranks.count() * bytes, std::size_t{2} << 20,
                CUdeviceptr{0}, 0ULL);
  for (std::uint32_t rank = 0; rank < ranks.count(); ++rank) {
    CUmemGenericAllocationHandle memory = own;
    if (rank != ranks.rank()) {
      // The driver takes descriptors as pointers.
      // NOLINTNEXTLINE(performance-no-int-to-ptr)
      void* handle = reinterpret_cast<void*>(static_cast<std::intptr_t>(others[rank].get()));
      COHORT_DRIVER(cuMemImportFromShareableHandle, &memory, handle,
                    CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR);
    }
    COHORT_DRIVER(cuMemMap, base + rank * bytes, bytes, std::size_t{0}, memory, 0ULL);
  }
  CUmemAccessDesc access{};
  access.location = properties.location;
  access.flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
  COHORT_DRIVER(cuMemSetAccess, base, ranks.count() * bytes, &access, std::size_t{1});
  // NOLINTNEXTLINE(performance-no-int-to-ptr): the driver gives addresses as numbers
  base_ = reinterpret_cast<std::byte*>(base);
  require(cudaMemset(of(ranks.rank()), 0, bytes), "cudaMemset");
  require(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
  ranks.barrier();
}

}  // namespace cohort::gpu_bench
