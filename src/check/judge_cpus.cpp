// CPUs: how many, on how many cores, near which memory.

#include <algorithm>

#include "check/judge.hpp"

namespace cohort::check {
namespace {

std::string counted(std::uint64_t count, const std::string& thing) {
  return std::to_string(count) + ' ' + thing + (count == 1 ? "" : "s");
}

}  // namespace

Row cpus_row(const HostFacts& facts, const Wanted& wanted) {
  Row row{"cpus", counted(facts.usable_cpus, "usable CPU"), Status::ok, "", ""};
  if (facts.usable_cpus < facts.allowed_cpus) {
    row.value += " by a quota, " + std::to_string(facts.allowed_cpus) + " by affinity";
  }
  if (facts.online_cpus > facts.usable_cpus) {
    row.value += ", of " + std::to_string(facts.online_cpus) + " of the machine";
  }
  row.value += ", for " + counted(wanted.ranks, "rank");
  if (wanted.ranks > facts.usable_cpus) {
    row.status = Status::warning;
    row.meaning =
        "Ranks take turns on CPUs: a rank that waits gives its CPU away, and every call costs "
        "turns of the scheduler. Right, but many times slower; measure nothing like this.";
    row.remedy = "Start at most " + counted(facts.usable_cpus, "rank") +
                 ", or give this process more CPUs (taskset, cpuset, a container's CPU quota).";
  } else {
    row.meaning = "Every rank has a CPU of its own, so waits spin: the fastest way.";
  }
  return row;
}

Row cores_row(const HostFacts& facts, const Wanted& wanted) {
  Row row{"cores", "", Status::ok, "", ""};
  if (facts.allowed_cores == 0) {
    row.value = "unknown";
    row.meaning = "The system does not say which CPUs share a core.";
    return row;
  }
  row.value = counted(facts.allowed_cpus, "CPU") + " on " + counted(facts.allowed_cores, "core");
  const std::uint32_t on_cpus = std::min(wanted.ranks, facts.usable_cpus);
  if (on_cpus > facts.allowed_cores) {
    row.status = Status::warning;
    row.meaning =
        "Some ranks share a core with another: one that spins in a wait takes the other's time.";
    row.remedy = "Start at most " + counted(facts.allowed_cores, "rank") +
                 ", and bind each to a core of its own (taskset).";
  } else if (facts.allowed_cpus > facts.allowed_cores) {
    row.meaning =
        "Cores are enough for all ranks, but some have two CPUs: two ranks may still meet on one "
        "unless each is bound to a core (taskset).";
  } else {
    row.meaning = "No two CPUs share a core.";
  }
  return row;
}

Row memory_nodes_row(const HostFacts& facts, const Wanted& wanted, std::uint32_t bound) {
  Row row{"memory_nodes", "", Status::ok, "", ""};
  if (facts.allowed_nodes == 0) {
    row.value = "unknown";
    row.meaning = "The system does not say which memory is near which CPU.";
    return row;
  }
  row.value = counted(facts.allowed_nodes, "node");
  if (facts.allowed_nodes == 1) {
    row.meaning = "All memory is equally near to all ranks.";
    return row;
  }
  row.value += ", " + std::to_string(bound) + " of " + counted(wanted.ranks, "rank") + " bound";
  if (bound < wanted.ranks) {
    row.status = Status::warning;
    row.meaning =
        "A rank that may run on CPUs of several nodes may end up far from its memory, and the "
        "order in which peers are read cannot follow the nodes.";
    row.remedy = "Bind each rank to one node, e.g. by numactl --cpunodebind in what starts it.";
  } else {
    row.meaning = "Every rank knows its node: peers of the same node are read first.";
  }
  return row;
}

}  // namespace cohort::check
