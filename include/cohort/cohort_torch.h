#ifndef COHORT_COHORT_TORCH_H_
#define COHORT_COHORT_TORCH_H_

/*
 * Memory of a committed session for PyTorch: libcohort_torch.so has the two functions that
 * torch.cuda.memory.CUDAPluggableAllocator loads by name, so that a torch.cuda.MemPool over them
 * takes its segments from the pools of a plan. Needs neither torch nor a compiler; the module
 * python/cohort_torch.py is built on it.
 *
 * A segment is a block of the pool that serves the group which the calling thread has selected.
 * Nothing here communicates: like scopes, all ranks select, allocate and collect the same in the
 * same order, and cohort_verify finds where they did not. Other threads may free at any time.
 */

#include <cohort/cohort.h>

#ifdef __cplusplus
extern "C" {
#endif

/* From now on segments of this thread are blocks for calls on the group of `kind`; 0: of none.
 * Local.
 */
COHORT_API int cohort_torch_select(cohort_session session, uint32_t kind);

/* A segment, aligned to 256 bytes; null, and a failure of this thread, if no group is selected or
 * there is none to be had. Over the pool's budget it is ordinary memory of the device (of a
 * `device` below 0: of the host), unless the plan is strict. Allocates and maps nothing else, so it
 * may be called while `stream`, a cudaStream_t, is captured. Local. */
COHORT_API void* cohort_torch_malloc(ptrdiff_t bytes, int device, void* stream);

/* Notes that PyTorch has no use for a segment any more. Its memory is used again only after
 * cohort_torch_collect. Local; from any thread, also after the session is closed. */
COHORT_API void cohort_torch_free(void* data, ptrdiff_t bytes, int device, void* stream);

/* Gives the segments that were freed back to their pools, in the order in which they were
 * allocated, once their streams have ended. Never while a stream is captured. Local. */
COHORT_API int cohort_torch_collect(cohort_session session);

/* What the segments of one group take on this rank. */
typedef struct cohort_torch_use {
  size_t size;
  uint64_t segments; /* live, and those freed but not collected */
  uint64_t bytes;
  uint64_t freed_segments;
  uint64_t freed_bytes;
  uint64_t ordinary_segments; /* live, over the budget */
  uint64_t ordinary_bytes;
} cohort_torch_use;

/* Of all groups if `kind` is 0. Local. */
COHORT_API int cohort_torch_usage(cohort_session session, uint32_t kind, cohort_torch_use* use);

/* Before cohort_close: collects, and forgets the session. COHORT_ERROR_USAGE, and nothing is done,
 * while segments are live: tensors would be left without memory. Local. */
COHORT_API int cohort_torch_forget(cohort_session session);

/* The last failure of these functions on this thread; code COHORT_OK if there was none since
 * cohort_torch_select. */
COHORT_API int cohort_torch_last_error(cohort_error* error);

#ifdef __cplusplus
}
#endif

#endif /* COHORT_COHORT_TORCH_H_ */
