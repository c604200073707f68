// The one symbol of libcohort_cuda.so: the table of what it can do.

#include "backend/cuda/abi.hpp"
#include "backend/cuda/plugin/device.hpp"
#include "backend/cuda/plugin/graph.hpp"
#include "backend/cuda/plugin/memory.hpp"
#include "collectives/cuda/kernels/copy_pieces.hpp"
#include "collectives/cuda/kernels/counted.hpp"
#include "collectives/cuda/kernels/fused.hpp"
#include "collectives/cuda/kernels/kernels.hpp"
#include "collectives/cuda/kernels/launch.hpp"
#include "collectives/cuda/kernels/reduce_alone.hpp"
#include "collectives/cuda/kernels/split.hpp"
#include "collectives/cuda/kernels/stamps.hpp"
#include "collectives/cuda/kernels/stand_in.hpp"

namespace cohort::cuda {

namespace {

Status load_all() {
  if (const Status status = load_copy_kernel(); !is_ok(status)) return status;
  if (const Status status = load_split_kernels(); !is_ok(status)) return status;
  if (const Status status = load_stamp_kernels(); !is_ok(status)) return status;
  if (const Status status = load_fused_kernels(); !is_ok(status)) return status;
  if (const Status status = load_counted_kernels(); !is_ok(status)) return status;
  if (const Status status = load_reduce_alone(); !is_ok(status)) return status;
  if (const Status status = load_stand_in_kernel(); !is_ok(status)) return status;
  return load_kernels();
}

Status open(std::uint32_t device, Device** opened) {
  return open_device(device, load_all, opened);
}

Status limit_early(Device* device, std::uint32_t threads) {
  const ContextScope scope(*device);
  if (!is_ok(scope.status())) return scope.status();
  return limit_early_kernels(threads);
}

Status launch_call(Device* device, const KernelCall* call) {
  const ContextScope scope(*device);
  if (!is_ok(scope.status())) return scope.status();
  return launch(*call);
}

Status launch_fused_call(Device* device, const FusedCall* call) {
  const ContextScope scope(*device);
  if (!is_ok(scope.status())) return scope.status();
  return launch_fused(*call);
}

Status launch_norm_call(Device* device, const Norm* norm, Address input, std::uint64_t rows,
                        StreamHandle stream) {
  const ContextScope scope(*device);
  if (!is_ok(scope.status())) return scope.status();
  return launch_norm(*norm, input, rows, stream);
}

Status copy_pieces(Device* device, const CopyPiece* pieces, std::uint32_t count,
                   StreamHandle stream) {
  const ContextScope scope(*device);
  if (!is_ok(scope.status())) return scope.status();
  return launch_copies(pieces, count, stream);
}

Status reduce_alone(Device* device, Address to, Address from, std::uint64_t elements, DType dtype,
                    StreamHandle stream) {
  const ContextScope scope(*device);
  if (!is_ok(scope.status())) return scope.status();
  return launch_reduce_alone(to, from, elements, dtype, stream);
}

// A kernel, as a copy by the driver would stand between two kernels that overlap their launches.
Status enqueue_copy(Device* device, Address to, Address from, std::size_t bytes,
                    StreamHandle stream) {
  const CopyPiece piece{to, from, 1, bytes, 0, 0};
  return copy_pieces(device, &piece, 1, stream);
}

// In the stream of copies, whose lowest priority lets calls go first.
Status stamp(Device* device, Address address, std::size_t bytes, std::uint64_t stamp) {
  if (bytes == 0) return succeeded();
  const ContextScope scope(*device);
  if (!is_ok(scope.status())) return scope.status();
  const CaptureIgnored ignored;
  const Status status = launch_stamps(address, bytes, stamp, device->copies);
  return is_ok(status) ? wait_for_copies(*device) : status;
}

Status has_stamps(Device* device, Address address, std::size_t bytes, std::uint64_t stamp,
                  bool* shown) {
  *shown = true;
  if (bytes == 0) return succeeded();
  const ContextScope scope(*device);
  if (!is_ok(scope.status())) return scope.status();
  const CaptureIgnored ignored;
  Status status = fill(device, device->differs, 0, sizeof(std::uint32_t));
  if (!is_ok(status)) return status;
  status = launch_comparison(address, bytes, stamp, device->differs, device->copies);
  if (!is_ok(status)) return status;
  std::uint32_t differs = 1;
  status = copy(device, reinterpret_cast<Address>(&differs), device->differs, sizeof differs);
  *shown = differs == 0;
  return status;
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
    .stamp = stamp,
    .has_stamps = has_stamps,
    .allocate_mapped = allocate_mapped,
    .free_mapped = free_mapped,
    .poke = poke,
    .limit_early = limit_early,
    .launch = launch_call,
    .launch_fused = launch_fused_call,
    .launch_norm = launch_norm_call,
    .enqueue_copy = enqueue_copy,
    .reduce_alone = reduce_alone,
    .copy_pieces = copy_pieces,
    .is_done = is_done,
    .is_capturing = is_capturing,
    .retain_in_graph = retain_in_graph,
    .create_stream = create_stream,
    .destroy_stream = destroy_stream,
    .begin_capture = begin_capture,
    .end_capture = end_capture,
    .launch_graph = launch_graph,
    .destroy_graph = destroy_graph,
};

}  // namespace

}  // namespace cohort::cuda

extern "C" __attribute__((visibility("default"))) const cohort::cuda::Api* cohort_cuda_plugin(
    std::uint32_t abi_version) {
  return abi_version == cohort::cuda::kAbiVersion ? &cohort::cuda::kApi : nullptr;
}
