// The functions of libcohort_torch.so, as cohort/cohort_torch.h declares them.

#include <algorithm>
#include <cstring>
#include <exception>
#include <new>

#include <cohort/cohort_torch.h>

#include "capi/torch/failure.hpp"
#include "capi/torch/segments.hpp"

using namespace cohort::torch;

namespace {

struct Selection {
  cohort_session session = nullptr;
  uint32_t kind = 0;  // none
};

thread_local Selection selection;

/// No exception crosses into C: `work` returns a code, what it throws becomes one.
template <typename Work>
int guarded(const Work& work) noexcept {
  try {
    return work();
  } catch (const std::bad_alloc&) {
    return fail(COHORT_ERROR_OUT_OF_MEMORY, "no memory for the list of segments");
  } catch (const std::exception& error) {
    return fail(COHORT_ERROR_SYSTEM, error.what());
  }
}

}  // namespace

extern "C" {

int cohort_torch_select(cohort_session session, uint32_t kind) {
  clear_failure();
  selection = {session, kind};
  return COHORT_OK;
}

void* cohort_torch_malloc(ptrdiff_t bytes, int device, void* stream) {
  void* data = nullptr;
  guarded([&]() -> int {
    if (selection.kind == 0) {
      return fail(COHORT_ERROR_USAGE, "no group is selected on this thread");
    }
    if (bytes < 0) return fail(COHORT_ERROR_USAGE, "bytes are negative");
    data = Segments::instance().allocate(selection.session, selection.kind,
                                         static_cast<size_t>(bytes), device, stream);
    return COHORT_OK;
  });
  return data;
}

void cohort_torch_free(void* data, ptrdiff_t /*bytes*/, int /*device*/, void* /*stream*/) {
  Segments::instance().note_free(data);
}

int cohort_torch_collect(cohort_session session) {
  return guarded([&] { return Segments::instance().collect(session); });
}

int cohort_torch_usage(cohort_session session, uint32_t kind, cohort_torch_use* use) {
  return guarded([&]() -> int {
    if (use == nullptr || use->size < sizeof(size_t)) {
      return fail(COHORT_ERROR_USAGE, "use.size is not set; set it to sizeof the struct");
    }
    cohort_torch_use told = Segments::instance().use_of(session, kind);
    told.size = use->size;
    std::memcpy(use, &told, std::min(use->size, sizeof told));
    return COHORT_OK;
  });
}

int cohort_torch_forget(cohort_session session) {
  return guarded([&] { return Segments::instance().forget(session); });
}

int cohort_torch_last_error(cohort_error* error) {
  return tell_failure(error);
}

}  // extern "C"
