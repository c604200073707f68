#include "capi/torch/failure.hpp"

#include <algorithm>
#include <cstring>

namespace cohort::torch {
namespace {

struct Failure {
  int code = COHORT_OK;
  std::int64_t rank = -1;
  std::string message;
  std::string phase;
};

Failure& own_failure() noexcept {
  thread_local Failure failure;
  return failure;
}

}  // namespace

int fail(int code, const std::string& message) noexcept {
  Failure& failure = own_failure();
  failure.code = code;
  failure.rank = -1;
  try {
    failure.message = message;
    failure.phase = "torch";
  } catch (...) {
    failure.message.clear();  // the code alone still tells
  }
  return code;
}

int pass_on(int code) noexcept {
  cohort_error told{};
  told.size = sizeof told;
  if (cohort_last_error(&told) != COHORT_OK || told.code != code) return fail(code, "");
  Failure& failure = own_failure();
  failure.code = code;
  failure.rank = told.rank;
  try {
    failure.message = told.message;
    failure.phase = told.phase;
  } catch (...) {
    failure.message.clear();
  }
  return code;
}

void clear_failure() noexcept {
  own_failure().code = COHORT_OK;
}

int tell_failure(cohort_error* error) noexcept {
  // Any version of the struct begins with its size; no more than that is written.
  if (error == nullptr || error->size < sizeof(std::size_t)) {
    return fail(COHORT_ERROR_USAGE, "error.size is not set; set it to sizeof the struct");
  }
  const Failure& failure = own_failure();
  cohort_error told{};
  told.message = failure.code == COHORT_OK ? "" : failure.message.c_str();
  told.phase = failure.code == COHORT_OK ? "" : failure.phase.c_str();
  told.rank = failure.code == COHORT_OK ? -1 : failure.rank;
  told.code = failure.code;
  told.size = error->size;
  std::memcpy(error, &told, std::min(error->size, sizeof told));
  return COHORT_OK;
}

}  // namespace cohort::torch
