#pragma once

// The same ranks with cohort: joined over shared memory, and their ends judged against a promise.

#include <chrono>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <cohort/cohort.hpp>

#include "faults/fault.hpp"
#include "faults/rank_processes.hpp"

namespace cohort::faults {

/// Elements of most operands: 64 KiB, which no path carries in a header.
inline constexpr std::size_t kElements = 16'384;

/// tp over all ranks, attention in two chunks: attn_cp pairs rank i with rank i + ranks / 2.
Layout layout_of(const Setting& setting);

/// A slot of f32 for these groups.
SlotSpec rows_for(std::vector<GroupKind> groups, std::uint32_t depth = 2);

/// Long enough never to decide anything; `steady` is for a rank that does not come.
WaitLimits limits_of(const Setting& setting,
                     std::chrono::milliseconds steady = std::chrono::seconds(10));

/// Runs `body` on ranks that have joined one world. What it throws becomes the rank's end.
std::vector<RankEnd> run_cohort(const Setting& setting, const WaitLimits& limits,
                                const std::function<void(World&, Rank&)>& body);

/// Fills a rank's rows with what it puts into a sum.
void fill(const Buffer& rows, std::uint32_t rank, float scale = 1);
/// The sum over the members of a group of what each puts in.
float wanted_sum(const Group& group, float scale = 1);
/// All floats of a buffer.
std::span<const float> floats(const Buffer& rows);

/// An all_reduce of a whole buffer, filled before and looked at afterwards.
Verdict reduce(Rank& rank, const Group& group, const Buffer& rows, const std::string& what,
               float scale = 1);

/// The text of the refusal that `call` must end with; anything else is noted as wrong.
std::string refusal(Rank& rank, const std::function<void()>& call);

/// "host_direct, ok, 0 B copied".
std::string describe(const Verdict& verdict);

/// Every rank ended its body, and no result was wrong: `outcome`, with what the ranks said.
Observation judge_right(std::span<const RankEnd> ends, Outcome outcome = Outcome::right);

/// Every rank but those in `spared` ended with `code` and a text that holds `parts`, and none was
/// given a wrong result before.
Observation judge_ended(std::span<const RankEnd> ends, ErrorCode code,
                        std::span<const std::string> parts,
                        std::optional<std::uint32_t> spared = std::nullopt);

}  // namespace cohort::faults
