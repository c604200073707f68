#include "heap/plan_text.hpp"

#include <algorithm>
#include <map>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "heap/rank_list.hpp"

namespace cohort::heap {
namespace {

std::string layout_line(const LayoutSizes& sizes) {
  return "layout: tp " + std::to_string(sizes.tp) + ", attn_dp " + std::to_string(sizes.attn_dp) +
         ", attn_cp " + std::to_string(sizes.attn_cp) + ", ep " + std::to_string(sizes.ep) +
         ", moe_dp " + std::to_string(sizes.moe_dp) + ", pp " + std::to_string(sizes.pp) +
         ", dcp " + std::to_string(sizes.dcp) + ", ranks_per_host " +
         std::to_string(sizes.ranks_per_host);
}

std::string slot_line(std::size_t index, const PlannedSlot& slot) {
  std::string groups;
  for (const GroupKind kind : all_group_kinds()) {
    if ((slot.group_mask & (1U << static_cast<unsigned>(kind))) == 0) continue;
    if (!groups.empty()) groups += ", ";
    groups += to_string(kind);
  }
  return "slot " + std::to_string(index) + " '" + slot.name + "': groups {" + groups + "}, " +
         std::string(to_string(slot.spec.dtype)) + ", rows_max " +
         std::to_string(slot.spec.rows_max) + ", row_elements " +
         std::to_string(slot.spec.row_elements) + ", depth " + std::to_string(slot.spec.depth) +
         (slot.spec.leases == 0 ? "" : ", leases " + std::to_string(slot.spec.leases)) +
         (slot.spec.stage ? ", stage " + std::to_string(*slot.spec.stage) : "");
}

std::string pool_line(std::size_t index, const PlannedPool& pool) {
  std::string groups;
  for (const GroupKind kind : all_group_kinds()) {
    if (pool.block_bytes_max(kind) == 0) continue;
    if (!groups.empty()) groups += ", ";
    groups +=
        std::string(to_string(kind)) + " blocks of " + std::to_string(pool.block_bytes_max(kind));
  }
  return "pool " + std::to_string(index) + " '" + pool.name + "': groups {" + groups + "}, bytes " +
         std::to_string(pool.bytes);
}

}  // namespace

std::vector<std::string> plan_lines(const Plan& plan) {
  std::vector<std::string> lines;
  lines.push_back(layout_line(plan.layout().sizes()));
  lines.push_back(std::string("options: symmetry ") +
                  (plan.options().symmetry == Symmetry::on ? "on" : "off") + ", strict " +
                  (plan.options().strict ? "on" : "off") + ", lanes " +
                  std::to_string(plan.options().lanes) + ", reserve " +
                  std::to_string(plan.options().reserve_bytes) + ", memory " +
                  std::string(to_string(plan.options().memory)) + ", nccl " +
                  std::string(to_string(plan.options().nccl)));
  for (std::string& line : plan.options().path_table.lines()) lines.push_back(std::move(line));
  for (std::size_t i = 0; i < plan.slots().size(); ++i) {
    lines.push_back(slot_line(i, plan.slots()[i]));
  }
  for (const PlannedSendRecv& planned : plan.send_recvs()) {
    lines.push_back("send_recv " + std::string(to_string(planned.kind)) + ": staged_bytes_max " +
                    std::to_string(planned.spec.staged_bytes_max));
  }
  for (std::size_t i = 0; i < plan.pools().size(); ++i) {
    lines.push_back(pool_line(i, plan.pools()[i]));
  }
  return lines;
}

std::array<std::uint64_t, 2> plan_digest(const Plan& plan) {
  std::string text;
  for (const std::string& line : plan_lines(plan)) text += line + "\n";
  const XXH128_hash_t hash = XXH3_128bits(text.data(), text.size());
  return {hash.low64, hash.high64};
}

std::string describe_difference(const std::vector<std::vector<std::string>>& lines_by_rank) {
  std::size_t longest = 0;
  for (const auto& lines : lines_by_rank) longest = std::max(longest, lines.size());
  for (std::size_t line = 0; line < longest; ++line) {
    std::map<std::string, std::vector<std::size_t>> holders;
    for (std::size_t rank = 0; rank < lines_by_rank.size(); ++rank) {
      const auto& lines = lines_by_rank[rank];
      holders[line < lines.size() ? lines[line] : "no such entry"].push_back(rank);
    }
    if (holders.size() < 2) continue;
    std::string text = "the ranks' plans differ at entry " + std::to_string(line) + ": ";
    bool first = true;
    for (const auto& [version, ranks] : holders) {
      if (!first) text += "; ";
      first = false;
      text += rank_list(ranks) + " declared [" + version + "]";
    }
    return text;
  }
  return "the ranks' plans have different digests but the same text";
}

}  // namespace cohort::heap
