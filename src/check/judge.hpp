#pragma once

// From what was found to what it means: one row for each property. Pure.
//
// A problem is only what makes ranks, or arenas of the wanted size, impossible; everything that
// costs speed or help is a warning.

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "check/gpu_facts.hpp"
#include "check/host_facts.hpp"
#include "check/rank_report.hpp"
#include "check/row.hpp"

namespace cohort::check {

Row kernel_row(const HostFacts& facts);
Row clock_row(const HostFacts& facts);
Row memfd_row(const HostFacts& facts);
Row pidfd_row(const HostFacts& facts);
Row sandbox_row(const HostFacts& facts);

Row cpus_row(const HostFacts& facts, const Wanted& wanted);
Row cores_row(const HostFacts& facts, const Wanted& wanted);
/// `bound` says for how many ranks one memory node is known.
Row memory_nodes_row(const HostFacts& facts, const Wanted& wanted, std::uint32_t bound);

Row memory_row(const HostFacts& facts, const Wanted& wanted);
Row huge_pages_row(const HostFacts& facts);
Row processes_row(const HostFacts& facts, const Wanted& wanted);
Row open_files_row(const HostFacts& facts, const Wanted& wanted);
/// `refusal` is what a rank was told when it tried.
Row address_space_row(const HostFacts& facts, const Wanted& wanted,
                      const std::optional<std::string>& refusal);
Row file_size_row(const HostFacts& facts, const Wanted& wanted);
Row locked_memory_row(const HostFacts& facts);

/// What the ranks' reports say, by world rank, and `fault` what their job ended with, if it failed.
Row join_row(std::span<const RankReport> reports, const std::optional<std::string>& fault);
Row shared_memory_row(std::span<const RankReport> reports, const std::optional<std::string>& fault);
Row spin_trip_row(std::span<const RankReport> reports, const HostFacts& facts);
Row sleep_trip_row(std::span<const RankReport> reports);

/// Without devices this is all there is to say.
Row gpus_row(const GpuFacts& facts);
/// Require: there are devices.
Row gpu_driver_row(const GpuFacts& facts);
Row gpu_links_row(const GpuFacts& facts);
Row gpu_memory_row(const GpuFacts& facts);
Row nccl_row(const GpuFacts& facts);
std::vector<Row> judge_gpus(const GpuFacts& facts);

/// All that is about the host, in the order in which they are printed.
std::vector<Row> judge(const HostFacts& facts, const Wanted& wanted,
                       std::span<const RankReport> reports,
                       const std::optional<std::string>& fault);

}  // namespace cohort::check
