#pragma once

// The last failure of the functions for PyTorch on this thread: of their own, or passed on from
// the C interface, whose errors only it can note.

#include <cstdint>
#include <string>

#include <cohort/cohort.h>

namespace cohort::torch {

/// Notes a failure of these functions. Returns the code.
int fail(int code, const std::string& message) noexcept;
/// Notes what the C interface has just failed with. Returns the code.
int pass_on(int code) noexcept;
/// Forgets it.
void clear_failure() noexcept;
/// Tells it; code COHORT_OK if there is none.
int tell_failure(cohort_error* error) noexcept;

}  // namespace cohort::torch
