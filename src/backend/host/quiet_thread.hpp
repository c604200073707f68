#pragma once

#include <pthread.h>

#include <csignal>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include <cohort/error.hpp>

namespace cohort::host {

/// Starts a thread that takes no signals, so that handlers run on the program's own threads.
/// Throws: Error{out_of_memory} saying for what, e.g. "watches other ranks".
template <typename Body>
std::thread start_without_signals(const char* purpose, Body body) {
  sigset_t all, before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread thread;
  try {
    thread = std::thread(std::move(body));
  } catch (const std::system_error& error) {
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    throw Error(ErrorCode::out_of_memory,
                std::string("could not start a thread that ") + purpose + ": " + error.what(),
                std::nullopt, "join");
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return thread;
}

}  // namespace cohort::host
