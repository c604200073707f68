// The one symbol of libcohort_cuda.so: the table of what it can do.

#include "backend/cuda/abi.hpp"
#include "backend/cuda/plugin/device.hpp"
#include "backend/cuda/plugin/memory.hpp"
#include "collectives/cuda/kernels/kernels.hpp"

namespace cohort::cuda {

namespace {

Status open(std::uint32_t device, Device** opened) {
  return open_device(device, load_kernels, opened);
}

Status launch_call(Device* device, const KernelCall* call) {
  const ContextScope scope(*device);
  if (!is_ok(scope.status())) return scope.status();
  return launch(*call);
}

constexpr Api kApi = {
    .abi_version = kAbiVersion,
    .device_count = device_count,
    .describe = describe,
    .describe_link = describe_link,
    .open = open,
    .close = close_device,
    .granule = granule,
    .reserve = reserve,
    .free_range = free_range,
    .create = create,
    .export_fd = export_fd,
    .import_fd = import_fd,
    .destroy = destroy,
    .map = map,
    .unmap = unmap,
    .fill = fill,
    .copy = copy,
    .allocate_mapped = allocate_mapped,
    .free_mapped = free_mapped,
    .poke = poke,
    .launch = launch_call,
    .launch_fused = nullptr,
    .launch_norm = nullptr,
    .is_done = is_done,
    .is_capturing = is_capturing,
};

}  // namespace

}  // namespace cohort::cuda

extern "C" __attribute__((visibility("default"))) const cohort::cuda::Api* cohort_cuda_plugin(
    std::uint32_t abi_version) {
  return abi_version == cohort::cuda::kAbiVersion ? &cohort::cuda::kApi : nullptr;
}
