#pragma once

// Where exceptions end: every function of the C interface runs its work in `guarded`.

#include <exception>

#include <cohort/cohort.h>
#include <cohort/error.hpp>

namespace cohort::capi {

/// Notes the exception being handled as this thread's last failure. Returns its code.
int note_failure() noexcept;

/// COHORT_OK, or the code of what `work` threw, which is then this thread's last failure.
template <typename Work>
int guarded(const Work& work) noexcept {
  try {
    work();
    return COHORT_OK;
  } catch (...) {
    return note_failure();
  }
}

/// Throws: Error{usage} naming the argument if it is null.
void require(const void* argument, const char* name);

}  // namespace cohort::capi
