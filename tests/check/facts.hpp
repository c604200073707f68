#pragma once

// A machine that has all that ranks need.

#include "check/host_facts.hpp"

namespace cohort::check {

inline HostFacts good_facts() {
  HostFacts facts;
  facts.kernel_release = "6.1.0-37-amd64";
  facts.clock_source = "tsc";
  facts.has_steady_tsc = true;
  facts.clock_read_ns = 24.4;
  facts.online_cpus = 8;
  facts.allowed_cpus = 8;
  facts.usable_cpus = 8;
  facts.allowed_cores = 8;
  facts.allowed_nodes = 1;
  facts.memory = AvailableMemory{std::size_t{8} << 30, "the machine's free memory"};
  facts.shared_huge_pages = "never";
  facts.open_files = {1024, 1'048'576};
  facts.locked_bytes = {8192 * 1024, 8192 * 1024};
  facts.own_address_bytes = std::uint64_t{64} << 20;
  facts.seccomp_mode = 0;
  return facts;
}

}  // namespace cohort::check
