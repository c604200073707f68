#include "backend/cuda/plugin/graph.hpp"

#include <cuda.h>

#include <memory>
#include <new>

namespace cohort::cuda {

namespace {

/// What a user object of the driver's stands for.
struct Retained {
  void (*release)(void* held);
  void* held;
};

void CUDA_CB let_go(void* object) {
  const std::unique_ptr<Retained> retained(static_cast<Retained*>(object));
  if (retained->release != nullptr) retained->release(retained->held);
}

}  // namespace

Status create_stream(Device* device, StreamHandle* stream) {
  *stream = nullptr;
  const ContextScope scope(*device);
  if (!is_ok(scope.status())) return scope.status();
  const CaptureIgnored ignored;
  CUstream created = nullptr;
  COHORT_DRIVER_TRY(cuStreamCreateWithPriority, &created, CU_STREAM_NON_BLOCKING, 0);
  *stream = created;
  return succeeded();
}

void destroy_stream(Device* device, StreamHandle stream) {
  const ContextScope scope(*device);
  if (is_ok(scope.status())) driver().cuStreamDestroy(static_cast<CUstream>(stream));
}

// Other threads may go on with whatever they do: ranks that are threads capture at different times.
Status begin_capture(Device* device, StreamHandle stream) {
  const ContextScope scope(*device);
  if (!is_ok(scope.status())) return scope.status();
  COHORT_DRIVER_TRY(cuStreamBeginCapture, static_cast<CUstream>(stream),
                    CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
  return succeeded();
}

Status end_capture(Device* device, StreamHandle stream, GraphHandle* graph) {
  *graph = nullptr;
  const ContextScope scope(*device);
  if (!is_ok(scope.status())) return scope.status();
  CUgraph captured = nullptr;
  COHORT_DRIVER_TRY(cuStreamEndCapture, static_cast<CUstream>(stream), &captured);
  CUgraphExec ready = nullptr;
  const CUresult result = driver().cuGraphInstantiateWithFlags(&ready, captured, 0);
  driver().cuGraphDestroy(captured);
  if (result != CUDA_SUCCESS) return status_of("cuGraphInstantiateWithFlags", result);
  *graph = ready;
  // Its first launch would upload it, beside peers that already wait in theirs.
  const CUresult uploaded = driver().cuGraphUpload(ready, static_cast<CUstream>(stream));
  if (uploaded == CUDA_SUCCESS) return succeeded();
  destroy_graph(device, *graph);
  *graph = nullptr;
  return status_of("cuGraphUpload", uploaded);
}

Status launch_graph(Device* device, GraphHandle graph, StreamHandle stream) {
  const ContextScope scope(*device);
  if (!is_ok(scope.status())) return scope.status();
  COHORT_DRIVER_TRY(cuGraphLaunch, static_cast<CUgraphExec>(graph), static_cast<CUstream>(stream));
  return succeeded();
}

void destroy_graph(Device* device, GraphHandle graph) {
  const ContextScope scope(*device);
  if (is_ok(scope.status())) driver().cuGraphExecDestroy(static_cast<CUgraphExec>(graph));
}

Status retain_in_graph(Device* device, StreamHandle stream, void (*release)(void* held),
                       void* held) {
  const ContextScope scope(*device);
  if (!is_ok(scope.status())) return scope.status();
  auto capture = CU_STREAM_CAPTURE_STATUS_NONE;
  CUgraph graph = nullptr;
  const CUresult asked = driver().capture_info(static_cast<CUstream>(stream), &capture, nullptr,
                                               &graph, nullptr, nullptr);
  if (asked != CUDA_SUCCESS) return status_of("cuStreamGetCaptureInfo", asked);
  if (capture != CU_STREAM_CAPTURE_STATUS_ACTIVE) {
    return failure(Status::Code::usage, "the stream is not being captured");
  }
  std::unique_ptr<Retained> retained(new (std::nothrow) Retained{release, held});
  if (!retained) return failure(Status::Code::out_of_memory, "no memory to note a graph's own");
  CUuserObject object = nullptr;
  COHORT_DRIVER_TRY(cuUserObjectCreate, &object, retained.get(), let_go, 1,
                    CU_USER_OBJECT_NO_DESTRUCTOR_SYNC);
  Retained* const owned = retained.release();
  const CUresult result =
      driver().cuGraphRetainUserObject(graph, object, 1, CU_GRAPH_USER_OBJECT_MOVE);
  if (result == CUDA_SUCCESS) return succeeded();
  owned->release = nullptr;
  driver().cuUserObjectRelease(object, 1);
  return status_of("cuGraphRetainUserObject", result);
}

}  // namespace cohort::cuda
