// The table of backend/cuda/nccl/abi.hpp over NCCL.

#include <cuda_runtime_api.h>

#include <bit>
#include <cstring>
#include <new>
#include <vector>

#include "backend/cuda/nccl/plugin/nccl_library.hpp"
#include "backend/cuda/plugin/status.hpp"

namespace cohort::cuda::nccl {

struct Communicator {
  ncclComm_t handle = nullptr;
  int device = 0;
  cudaEvent_t mark = nullptr;         ///< made by the first `mark`
  std::vector<ncclWindow_t> windows;  ///< reserved before NCCL is given places in it
};

namespace {

constexpr std::uint32_t kWindowsMax = 256;

/// NCCL acts on the thread's current device; the caller's is put back.
class OnDevice {
 public:
  explicit OnDevice(int device) noexcept {
    status_ = status_of("cudaGetDevice", cudaGetDevice(&before_));
    if (is_ok(status_)) status_ = status_of("cudaSetDevice", cudaSetDevice(device));
  }
  ~OnDevice() {
    if (is_ok(status_)) cudaSetDevice(before_);
  }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;
  const Status& status() const noexcept { return status_; }

 private:
  int before_ = 0;
  Status status_;
};

/// `last` is the communicator whose last error NCCL keeps, or null.
Status nccl_status(const char* call, ncclResult_t result, ncclComm_t last = nullptr) noexcept {
  if (result == ncclSuccess || result == ncclInProgress) return succeeded();
  const char* const detail = library().last_error(last);
  const bool detailed = detail != nullptr && *detail != '\0';
  return failure(Status::Code::failed, "%s: %s%s%s", call, library().error_string(result),
                 detailed ? ": " : "", detailed ? detail : "");
}

ncclDataType_t type_of(DType dtype) noexcept {
  switch (dtype) {
    case DType::f32: return ncclFloat32;
    case DType::bf16: return ncclBfloat16;
    case DType::f16: return ncclFloat16;
    case DType::i32: return ncclInt32;
    case DType::i64: return ncclInt64;
    case DType::u8:
    case DType::f8e4m3: return ncclUint8;
  }
  return ncclUint8;
}

ncclRedOp_t operator_of(ReduceOp op) noexcept {
  switch (op) {
    case ReduceOp::sum: return ncclSum;
    case ReduceOp::min: return ncclMin;
    case ReduceOp::max: return ncclMax;
  }
  return ncclSum;
}

Status unique_id(UniqueId* id) noexcept {
  static_assert(sizeof(ncclUniqueId) == sizeof(UniqueId));
  ncclUniqueId made;
  const ncclResult_t result = library().get_unique_id(&made);
  std::memcpy(id->bytes, made.internal, sizeof id->bytes);
  return nccl_status("ncclGetUniqueId", result);
}

Status begin_join(const Join& join, Communicator** joined) noexcept {
  const OnDevice on(static_cast<int>(join.device));
  if (!is_ok(on.status())) return on.status();
  auto* const made = new (std::nothrow) Communicator;
  if (made == nullptr) return failure(Status::Code::out_of_memory, "no memory for a communicator");
  made->device = static_cast<int>(join.device);
  ncclUniqueId id;
  std::memcpy(id.internal, join.id.bytes, sizeof id.internal);
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  const ncclResult_t result = library().init_rank(&made->handle, static_cast<int>(join.members), id,
                                                  static_cast<int>(join.self), &config);
  const Status status = nccl_status("ncclCommInitRankConfig", result);
  if (!is_ok(status) && made->handle == nullptr) {
    delete made;
    return status;
  }
  *joined = made;
  return status;
}

Status join(const Join* joins, std::uint32_t count, Communicator** joined) noexcept {
  for (std::uint32_t i = 0; i < count; ++i) joined[i] = nullptr;
  Status status = nccl_status("ncclGroupStart", library().group_start());
  if (!is_ok(status)) return status;
  for (std::uint32_t i = 0; i < count && is_ok(status); ++i) {
    status = begin_join(joins[i], &joined[i]);
  }
  const Status ended = nccl_status("ncclGroupEnd", library().group_end());
  return is_ok(status) ? ended : status;
}

Status progress(Communicator* communicator, Progress* progress) noexcept {
  ncclResult_t result = ncclSuccess;
  const ncclResult_t asked = library().async_error(communicator->handle, &result);
  if (asked != ncclSuccess) return nccl_status("ncclCommGetAsyncError", asked);
  *progress = result == ncclInProgress ? Progress::pending : Progress::done;
  return nccl_status("NCCL", result, communicator->handle);
}

Status add_windows(Communicator* communicator, const Address* addresses, const std::uint64_t* bytes,
                   std::uint32_t count) noexcept {
  auto& windows = communicator->windows;
  const std::size_t first = windows.size();
  if (first + count > kWindowsMax) {
    return failure(Status::Code::unsupported, "more than %u windows of a communicator",
                   kWindowsMax);
  }
  try {
    windows.reserve(kWindowsMax);  // NCCL fills places in it later: they must not move
    windows.resize(first + count);
  } catch (const std::bad_alloc&) {
    return failure(Status::Code::out_of_memory, "no memory for windows");
  }
  const OnDevice on(communicator->device);
  if (!is_ok(on.status())) return on.status();
  Status status = nccl_status("ncclGroupStart", library().group_start());
  if (!is_ok(status)) return status;
  for (std::uint32_t i = 0; i < count && is_ok(status); ++i) {
    status = nccl_status(
        "ncclCommWindowRegister",
        library().window_register(communicator->handle, std::bit_cast<void*>(addresses[i]),
                                  bytes[i], &windows[first + i], NCCL_WIN_COLL_SYMMETRIC),
        communicator->handle);
  }
  const Status ended = nccl_status("ncclGroupEnd", library().group_end(), communicator->handle);
  return is_ok(status) ? ended : status;
}

std::uint32_t window_count(const Communicator* communicator) noexcept {
  std::uint32_t count = 0;
  for (const ncclWindow_t window : communicator->windows) count += window != nullptr ? 1 : 0;
  return count;
}

Status drop_windows(Communicator* communicator, std::uint32_t kept) noexcept {
  const OnDevice on(communicator->device);
  Status status = on.status();
  // Last in, first out, so that NCCL's own addresses stay the same on all members.
  while (is_ok(status) && communicator->windows.size() > kept) {
    if (const ncclWindow_t window = communicator->windows.back()) {
      status = nccl_status("ncclCommWindowDeregister",
                           library().window_deregister(communicator->handle, window));
    }
    communicator->windows.pop_back();
  }
  return status;
}

Status call(Communicator* communicator, const Call* call) noexcept {
  const OnDevice on(communicator->device);
  if (!is_ok(on.status())) return on.status();
  const ncclComm_t comm = communicator->handle;
  const auto* const input = std::bit_cast<const void*>(call->input);
  auto* const output = std::bit_cast<void*>(call->output);
  auto* const stream = static_cast<cudaStream_t>(call->stream);
  const ncclDataType_t type = type_of(call->dtype);
  const ncclRedOp_t op = operator_of(call->reduce_op);
  const NcclLibrary& nccl = library();
  switch (call->op) {
    case Op::all_reduce:
      return nccl_status("ncclAllReduce",
                         nccl.all_reduce(input, output, call->count, type, op, comm, stream), comm);
    case Op::all_gather:
      return nccl_status("ncclAllGather",
                         nccl.all_gather(input, output, call->count, type, comm, stream), comm);
    case Op::reduce_scatter:
      return nccl_status("ncclReduceScatter",
                         nccl.reduce_scatter(input, output, call->count, type, op, comm, stream),
                         comm);
    case Op::broadcast:
      return nccl_status("ncclBroadcast",
                         nccl.broadcast(input, output, call->count, type,
                                        static_cast<int>(call->root), comm, stream),
                         comm);
    case Op::all_to_all:
      if (nccl.all_to_all == nullptr) break;
      return nccl_status("ncclAlltoAll",
                         nccl.all_to_all(input, output, call->count, type, comm, stream), comm);
    default: break;
  }
  return failure(Status::Code::unsupported, "this NCCL has no such operation");
}

Status mark(Communicator* communicator, StreamHandle stream) noexcept {
  const OnDevice on(communicator->device);
  if (!is_ok(on.status())) return on.status();
  if (communicator->mark == nullptr) {
    COHORT_CUDA_TRY(cudaEventCreateWithFlags, &communicator->mark, cudaEventDisableTiming);
  }
  // Calls on one communicator follow each other, whatever their streams: NCCL sees to it.
  COHORT_CUDA_TRY(cudaEventRecord, communicator->mark, static_cast<cudaStream_t>(stream));
  return succeeded();
}

Status mark_reached(Communicator* communicator, bool* reached) noexcept {
  *reached = true;
  if (communicator->mark == nullptr) return succeeded();
  const OnDevice on(communicator->device);
  if (!is_ok(on.status())) return on.status();
  const cudaError_t error = cudaEventQuery(communicator->mark);
  *reached = error == cudaSuccess;
  return error == cudaErrorNotReady ? succeeded() : status_of("cudaEventQuery", error);
}

/// Once NCCL has let go of what it points to.
void forget(Communicator* communicator) noexcept {
  if (communicator->mark != nullptr) {
    const OnDevice on(communicator->device);
    if (is_ok(on.status())) cudaEventDestroy(communicator->mark);
  }
  delete communicator;
}

Status finalize(Communicator* communicator) noexcept {
  return nccl_status("ncclCommFinalize", library().finalize(communicator->handle),
                     communicator->handle);
}

void destroy(Communicator* communicator) noexcept {
  library().destroy(communicator->handle);
  forget(communicator);
}

void abort(Communicator* communicator) noexcept {
  library().abort(communicator->handle);
  forget(communicator);
}

Status free_bytes(std::uint32_t device, std::uint64_t* bytes) noexcept {
  const OnDevice on(static_cast<int>(device));
  if (!is_ok(on.status())) return on.status();
  std::size_t free = 0;
  std::size_t total = 0;
  COHORT_CUDA_TRY(cudaMemGetInfo, &free, &total);
  *bytes = free;
  return succeeded();
}

Status stream_done(std::uint32_t device, StreamHandle stream, bool* done) noexcept {
  const OnDevice on(static_cast<int>(device));
  if (!is_ok(on.status())) return on.status();
  const cudaError_t error = cudaStreamQuery(static_cast<cudaStream_t>(stream));
  *done = error == cudaSuccess;
  return error == cudaErrorNotReady ? succeeded() : status_of("cudaStreamQuery", error);
}

constexpr Api kApi{
    .abi_version = kAbiVersion,
    .load = load_library,
    .unique_id = unique_id,
    .join = join,
    .progress = progress,
    .add_windows = add_windows,
    .window_count = window_count,
    .drop_windows = drop_windows,
    .call = call,
    .mark = mark,
    .mark_reached = mark_reached,
    .finalize = finalize,
    .destroy = destroy,
    .abort = abort,
    .free_bytes = free_bytes,
    .stream_done = stream_done,
};

}  // namespace
}  // namespace cohort::cuda::nccl

extern "C" __attribute__((visibility("default"))) const cohort::cuda::nccl::Api* cohort_nccl_plugin(
    std::uint32_t abi_version) {
  return abi_version == cohort::cuda::nccl::kAbiVersion ? &cohort::cuda::nccl::kApi : nullptr;
}
