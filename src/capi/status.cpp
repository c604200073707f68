#include "capi/status.hpp"

#include <cstring>
#include <new>
#include <string>

#include "capi/numbers.hpp"
#include "capi/structs.hpp"

namespace cohort::capi {
namespace {

struct Failure {
  int code = COHORT_OK;
  std::int64_t rank = -1;
  std::string message;
  std::string phase;
  bool text_lost = false;  // there was no memory for it
};

Failure& last_failure() {
  thread_local Failure failure;
  return failure;
}

void note(int code, std::int64_t rank, const char* message, const char* phase) noexcept {
  Failure& failure = last_failure();
  failure.code = code;
  failure.rank = rank;
  failure.text_lost = false;
  try {
    failure.message = message;
    failure.phase = phase;
  } catch (...) {
    failure.text_lost = true;
  }
}

}  // namespace

int note_failure() noexcept {
  try {
    throw;
  } catch (const Error& error) {
    const std::int64_t rank = error.rank() ? std::int64_t{error.rank()->index()} : -1;
    note(number_of(error.code()), rank, error.what(), error.phase().c_str());
  } catch (const std::bad_alloc&) {
    note(COHORT_ERROR_OUT_OF_MEMORY, -1, "out of memory", "");
  } catch (const std::exception& error) {
    note(COHORT_ERROR_SYSTEM, -1, error.what(), "");
  } catch (...) {
    note(COHORT_ERROR_SYSTEM, -1, "something was thrown that is no exception", "");
  }
  return last_failure().code;
}

void require(const void* argument, const char* name) {
  if (argument == nullptr) throw Error(ErrorCode::usage, std::string(name) + " is null");
}

}  // namespace cohort::capi

using namespace cohort;
using capi::guarded;

extern "C" {

const char* cohort_last_error_message(void) {
  const capi::Failure& failure = capi::last_failure();
  return failure.text_lost ? "no memory was left for the message" : failure.message.c_str();
}

int cohort_last_error(cohort_error* error) {
  if (error == nullptr) {
    return guarded([] { capi::require(nullptr, "error"); });
  }
  const capi::Failure& failure = capi::last_failure();
  cohort_error last{};
  last.message = cohort_last_error_message();
  last.phase = failure.text_lost ? "" : failure.phase.c_str();
  last.rank = failure.rank;
  last.code = failure.code;
  return guarded([&] { capi::write_struct(last, error, "error"); });
}

}  // extern "C"
