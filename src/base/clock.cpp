#include "base/clock.hpp"

#include <charconv>
#include <cstdlib>
#include <string>
#include <string_view>

#include <cohort/error.hpp>

namespace cohort {

double deadline_scale_from_environment() {
  const char* variable = std::getenv("COHORT_DEADLINE_SCALE");
  if (variable == nullptr) return 1.0;
  const std::string_view text = variable;
  double scale = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), scale);
  // The negated comparison also refuses NaN.
  if (error != std::errc{} || end != text.data() + text.size() ||
      !(scale >= 0.01 && scale <= 1000)) {
    throw Error(ErrorCode::usage, "COHORT_DEADLINE_SCALE='" + std::string(text) +
                                      "' is not a number from 0.01 to 1000");
  }
  return scale;
}

}  // namespace cohort
