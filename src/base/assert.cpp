#include "base/assert.hpp"

#include <cstdio>
#include <cstdlib>

namespace cohort::detail {

void assertion_failed(const char* file, int line, const char* condition,
                      const char* message) noexcept {
  std::fprintf(stderr, "cohort: assertion failed: %s (%s) at %s:%d\n", message, condition, file,
               line);
  std::abort();
}

}  // namespace cohort::detail
