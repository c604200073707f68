#include "rendezvous/stop_signals.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <system_error>

#include <cohort/error.hpp>

namespace cohort::rendezvous {
namespace {

constexpr std::array kSignals{SIGINT, SIGTERM};

std::atomic<int> signal_fd{-1};
std::array<struct sigaction, kSignals.size()> before;

extern "C" void pass_on(int number) {
  const int reason = errno;
  const char byte = static_cast<char>(number);
  [[maybe_unused]] const auto written = ::write(signal_fd.load(), &byte, 1);
  errno = reason;
}

}  // namespace

StopSignals::StopSignals() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) {
    throw Error(ErrorCode::system,
                "could not open a pipe: " + std::system_category().message(errno));
  }
  read_end_.reset(ends[0]);
  write_end_.reset(ends[1]);
  signal_fd.store(write_end_.get());
  for (std::size_t index = 0; index < kSignals.size(); ++index) {
    ::sigaction(kSignals[index], nullptr, &before[index]);
    if (before[index].sa_handler == SIG_IGN) continue;
    struct sigaction action {};
    action.sa_handler = pass_on;
    action.sa_flags = SA_RESTART;
    ::sigaction(kSignals[index], &action, nullptr);
  }
}

StopSignals::~StopSignals() {
  for (std::size_t index = 0; index < kSignals.size(); ++index) {
    ::sigaction(kSignals[index], &before[index], nullptr);
  }
  signal_fd.store(-1);
}

std::optional<int> StopSignals::next() {
  char byte = 0;
  if (::read(read_end_.get(), &byte, 1) == 1) return byte;
  return std::nullopt;
}

}  // namespace cohort::rendezvous
