// The kernel, its clock and its sandboxes.

#include <cerrno>
#include <cmath>
#include <system_error>

#include "check/judge.hpp"
#include "check/system_text.hpp"

namespace cohort::check {
namespace {

std::string reason_of(int number) {
  return std::system_category().message(number);
}

/// Too few descriptors have a row of their own: they say nothing about the call that was tried.
bool lacked_descriptors(const Attempt& attempt) {
  return attempt.refused_errno == EMFILE || attempt.refused_errno == ENFILE;
}

Row not_tried(const std::string& name) {
  return {name, "not tried: no descriptor is free", Status::warning,
          "Nothing can be said before there are descriptors to try it with.", "See open_files."};
}

}  // namespace

Row kernel_row(const HostFacts& facts) {
  Row row{"kernel", facts.kernel_release, Status::ok, "", ""};
  const auto version = parse_kernel_version(facts.kernel_release);
  if (!version) {
    row.value = "unknown";
    row.status = Status::warning;
    row.meaning = "The system does not say which kernel it is; the rows below try what ranks need.";
    row.remedy = "Compare with Linux 5.3, the oldest kernel that has all of it.";
  } else if (*version < KernelVersion{3, 17}) {
    row.status = Status::problem;
    row.meaning = "Ranks share memory by memfd_create, which Linux has since 3.17.";
    row.remedy = "Use a kernel of at least 3.17, better 5.3.";
  } else if (*version < KernelVersion{5, 3}) {
    row.status = Status::warning;
    row.meaning = "Ranks run, but Linux has pidfd_open only since 5.3.";
    row.remedy = "Use a kernel of at least 5.3.";
  } else {
    row.meaning = "New enough for everything that ranks use (5.3).";
  }
  return row;
}

Row clock_row(const HostFacts& facts) {
  constexpr double kSlowNs = 300;
  Row row{"clock", facts.clock_source.empty() ? "unknown source" : facts.clock_source, Status::ok,
          "Every call reads the clock for its deadline and its books; that is cheap here.", ""};
  row.value += ", " + std::to_string(std::lround(facts.clock_read_ns)) + " ns a reading";
  if (facts.has_steady_tsc) {
    row.value += *facts.has_steady_tsc ? ", steady TSC" : ", no steady TSC";
  }
  if (facts.clock_read_ns > kSlowNs) {
    row.status = Status::warning;
    row.meaning =
        "Every call reads the clock for its deadline and its books. As slowly as this, small calls "
        "take visibly longer.";
    row.remedy =
        "Use a clock source that needs no system call: tsc (or kvm-clock in a guest), in "
        "/sys/devices/system/clocksource/clocksource0/current_clocksource.";
  }
  return row;
}

Row memfd_row(const HostFacts& facts) {
  if (lacked_descriptors(facts.memfd)) return not_tried("memfd");
  Row row{"memfd", "works", Status::ok,
          "Memory without a name, sealed in size, whatever /dev/shm holds: what ranks share.", ""};
  if (facts.memfd.refused_errno != 0) {
    row.value = "refused: " + reason_of(facts.memfd.refused_errno);
    row.status = Status::problem;
    row.meaning = "Ranks share memory by memfd_create with sealing and by nothing else.";
    row.remedy = "Let the sandbox (seccomp, container runtime) allow memfd_create and fcntl.";
  }
  return row;
}

Row pidfd_row(const HostFacts& facts) {
  if (lacked_descriptors(facts.pidfd)) return not_tried("pidfd");
  Row row{"pidfd", "works", Status::ok, "The death of a rank is known to all others at once.", ""};
  if (facts.pidfd.refused_errno != 0) {
    row.value = "refused: " + reason_of(facts.pidfd.refused_errno);
    row.status = Status::warning;
    row.meaning = "The death of a rank is known from the end of its connections only.";
    row.remedy = "Use Linux 5.3 or newer, and let the sandbox (seccomp) allow pidfd_open.";
  }
  return row;
}

Row sandbox_row(const HostFacts& facts) {
  const auto mode = facts.seccomp_mode;
  Row row{"sandbox", "", Status::ok, "", ""};
  row.value = !mode ? "seccomp unknown" : *mode == 0 ? "no seccomp" : "seccomp filters calls";
  row.value +=
      facts.yama_scope ? ", Yama ptrace scope " + std::to_string(*facts.yama_scope) : ", no Yama";
  row.meaning =
      "Ranks look into no other process (no ptrace, pidfd_getfd or process_vm_readv), so Yama "
      "cannot stop them; what seccomp might is tried in memfd, pidfd and join.";
  return row;
}

}  // namespace cohort::check
