#pragma once

#include <cerrno>
#include <string>
#include <system_error>

#include <cohort/error.hpp>

namespace cohort::host {

/// Throws what the operating system refused, by `errno`: "could not <action>: <its reason>".
[[noreturn]] inline void throw_system_error(const std::string& action, std::string phase = {}) {
  const int reason = errno;
  const bool memory = reason == ENOMEM || reason == ENOSPC;
  std::string message = "could not " + action + ": " + std::system_category().message(reason);
  if (reason == EMFILE) message += "; raise the limit of open files (ulimit -n)";
  throw Error(memory ? ErrorCode::out_of_memory : ErrorCode::system, message, std::nullopt,
              std::move(phase));
}

}  // namespace cohort::host
