// Memory, and the limits of a process that arenas and connections run into.

#include <algorithm>

#include "backend/host/control_segment.hpp"
#include "base/bytes.hpp"
#include "check/judge.hpp"
#include "heap/reserve.hpp"

namespace cohort::check {
namespace {

std::string ranks_of(const Wanted& wanted) {
  return std::to_string(wanted.ranks) + (wanted.ranks == 1 ? " rank" : " ranks");
}

std::string bytes_or_unlimited(const ProcessLimit& limit) {
  return limit.now ? format_bytes(*limit.now) : "unlimited";
}

std::uint64_t control_bytes(const Wanted& wanted) {
  return host::ControlSegment::bytes_for(wanted.ranks);
}

/// How a limit is raised: beyond the hard limit only by an administrator.
std::string raise(const std::string& flag, std::uint64_t to, const ProcessLimit& limit) {
  const std::string command = "ulimit -" + flag + ' ' + std::to_string(to);
  if (limit.max && *limit.max < to) {
    return "Let an administrator raise the hard limit (limits.conf, LimitNOFILE= and the like of a "
           "service, --ulimit of a container), then: " +
           command;
  }
  return "Raise it in the shell that starts the job: " + command;
}

constexpr std::uint64_t kib_up(std::uint64_t bytes) {
  return (bytes + 1023) / 1024;
}

}  // namespace

Row memory_row(const HostFacts& facts, const Wanted& wanted) {
  Row row{"memory", "", Status::ok, "", ""};
  const std::uint64_t needed =
      wanted.ranks * wanted.arena_bytes.value_or(0) + control_bytes(wanted);
  const std::string wants =
      wanted.arena_bytes ? ranks_of(wanted) + " with arenas of " +
                               format_bytes(*wanted.arena_bytes) + " need " + format_bytes(needed)
                         : ranks_of(wanted) + " need " + format_bytes(needed) + " before any arena";
  if (!facts.memory) {
    row.value = "unknown";
    row.status = Status::warning;
    row.meaning = "The system does not say how much memory is free; " + wants + ".";
    row.remedy = "Make sure that it is there: `commit` reserves all of it.";
    return row;
  }
  row.value = format_bytes(facts.memory->bytes) + " free (" + facts.memory->limited_by + ")";
  row.meaning = wants + ".";
  if (needed > facts.memory->bytes) {
    row.status = Status::problem;
    row.meaning += " `commit` reserves every byte before it returns, and would refuse.";
    row.remedy =
        "Free memory, raise the limit that is named, or plan less: fewer ranks, smaller slots, "
        "--pool with a budget.";
  } else if (!wanted.arena_bytes) {
    row.meaning += " Give --arena with the size that `cohort plan` prints to hold it against this.";
  }
  return row;
}

Row huge_pages_row(const HostFacts& facts) {
  const std::string& choice = facts.shared_huge_pages;
  Row row{"huge_pages", choice.empty() ? "unknown" : choice, Status::ok, "", ""};
  if (choice == "always" || choice == "within_size" || choice == "force") {
    row.meaning = "Shared memory gets huge pages where it can: few address translations.";
  } else {
    row.meaning =
        "Arenas are made of small pages. Large messages may gain from huge ones: \"within_size\" "
        "in /sys/kernel/mm/transparent_hugepage/shmem_enabled.";
  }
  return row;
}

Row processes_row(const HostFacts& facts, const Wanted& wanted) {
  // Of every rank: itself and the thread that watches the others.
  const std::uint64_t needed = 2 * std::uint64_t{wanted.ranks};
  // Libraries for matrices start a thread a CPU, divided among the ranks.
  const std::uint64_t with_threads = needed + facts.usable_cpus;
  Row row{"processes", "no limit of the container", Status::ok, "", ""};
  row.meaning = ranks_of(wanted) + " start " + std::to_string(needed) +
                " processes and threads, besides the program's own.";
  if (!facts.startable_processes) return row;
  row.value = std::to_string(*facts.startable_processes) + " left by the limit of the container";
  if (*facts.startable_processes < needed) {
    row.status = Status::problem;
  } else if (*facts.startable_processes < with_threads) {
    row.status = Status::warning;
    row.meaning += " That leaves less than a thread for each CPU.";
  }
  if (row.status != Status::ok) {
    row.remedy = "Raise the container's limit of processes (pids.max; --pids-limit, TasksMax=).";
  }
  return row;
}

Row open_files_row(const HostFacts& facts, const Wanted& wanted) {
  // A rank has a connection, a process descriptor and, in `commit`, an arena of every rank.
  constexpr std::uint64_t kPerRank = 3;
  constexpr std::uint64_t kOfItsOwn = 1;
  constexpr std::uint64_t kForTheProgram = 64;
  const std::uint64_t needed = facts.inherited_descriptors + kPerRank * wanted.ranks + kOfItsOwn;
  Row row{"open_files", "unlimited", Status::ok, "", ""};
  row.meaning = "A rank of " + std::to_string(wanted.ranks) + " opens up to " +
                std::to_string(needed) + ", besides what the program itself opens.";
  if (!facts.open_files.now) return row;
  row.value = "at most " + std::to_string(*facts.open_files.now);
  if (*facts.open_files.now < needed) {
    row.status = Status::problem;
  } else if (*facts.open_files.now < needed + kForTheProgram) {
    row.status = Status::warning;
    row.meaning += " That leaves little.";
  }
  if (row.status != Status::ok) row.remedy = raise("n", needed + kForTheProgram, facts.open_files);
  return row;
}

Row address_space_row(const HostFacts& facts, const Wanted& wanted,
                      const std::optional<std::string>& refusal) {
  const std::uint64_t each = heap::default_reserve_bytes(wanted.arena_bytes.value_or(1));
  const std::uint64_t needed = facts.own_address_bytes + wanted.ranks * each;
  Row row{"address_space", bytes_or_unlimited(facts.address_space_bytes), Status::ok, "", ""};
  row.meaning = "A rank sets aside " + format_bytes(each) +
                " of addresses, not of memory, for the "
                "arena of each of " +
                ranks_of(wanted) + ".";
  const auto& limit = facts.address_space_bytes.now;
  if ((limit && *limit < needed) || refusal) {
    row.status = Status::problem;
    if (refusal) row.meaning += " A rank that tried was refused: " + *refusal + ".";
    row.remedy =
        limit ? raise("v", kib_up(needed + (std::uint64_t{1} << 30)), facts.address_space_bytes)
              : "See what else limits addresses: vm.max_map_count, vm.overcommit_memory.";
  }
  return row;
}

Row file_size_row(const HostFacts& facts, const Wanted& wanted) {
  const std::uint64_t needed = std::max(wanted.arena_bytes.value_or(0), control_bytes(wanted));
  Row row{"file_size", bytes_or_unlimited(facts.file_bytes), Status::ok, "", ""};
  row.meaning = "Shared memory counts as a file: the largest one of this job has " +
                format_bytes(needed) + (wanted.arena_bytes ? "." : " without arenas.");
  if (facts.file_bytes.now && *facts.file_bytes.now < needed) {
    row.status = Status::problem;
    row.meaning += " The kernel ends a rank that wants a larger one by SIGXFSZ.";
    row.remedy = raise("f", kib_up(needed), facts.file_bytes);
  }
  return row;
}

Row locked_memory_row(const HostFacts& facts) {
  return {"locked_memory", bytes_or_unlimited(facts.locked_bytes), Status::ok,
          "Ranks of one host lock no memory, so this limit does not matter to them.", ""};
}

}  // namespace cohort::check
