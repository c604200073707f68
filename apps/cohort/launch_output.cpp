#include "launch_output.hpp"

#include <ostream>

#include "error_output.hpp"
#include "terminal.hpp"

namespace cohort {

int print_launch_result(const LaunchResult& result, bool json, std::ostream& output,
                        std::ostream& errors) {
  if (result.fault) {
    print_error(*result.fault, json, json ? output : errors);
  } else if (result.exit_code != 0) {
    if (terminal_of(errors).live) errors << "\r\x1b[K";
    errors << "cohort: interrupted; all ranks have ended" << std::endl;
  }
  return result.exit_code;
}

}  // namespace cohort
