#include "report/plan_json.hpp"

#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "heap/footprint.hpp"

namespace cohort {

namespace {

using Json = nlohmann::ordered_json;

Json names_of(const std::vector<GroupKind>& groups) {
  Json names = Json::array();
  for (const GroupKind group : groups) names.push_back(cohort::to_string(group));
  return names;
}

/// null for what ranks of all stages hold.
Json stage_of(const std::optional<std::uint32_t>& stage) {
  return stage ? Json(*stage) : Json(nullptr);
}

}  // namespace

Json slots_json(const Plan& plan) {
  Json slots = Json::array();
  for (const PlannedSlot& slot : plan.slots()) {
    slots.push_back({{"name", slot.name},
                     {"groups", names_of(slot.spec.groups)},
                     {"dtype", cohort::to_string(slot.spec.dtype)},
                     {"rows_max", slot.spec.rows_max},
                     {"row_elements", slot.spec.row_elements},
                     {"depth", slot.spec.depth},
                     {"leases", slot.spec.leases},
                     {"stage", stage_of(slot.spec.stage)},
                     {"offset", slot.offset},
                     {"entry_bytes", slot.entry_bytes}});
  }
  return slots;
}

Json pools_json(const Plan& plan) {
  Json pools = Json::array();
  for (const PlannedPool& pool : plan.pools()) {
    Json largest = Json::object();
    for (const PoolGroup& group : pool.spec.groups) {
      largest[std::string(cohort::to_string(group.kind))] = group.block_bytes_max;
    }
    pools.push_back({{"name", pool.name}, {"bytes", pool.bytes}, {"block_bytes_max", largest}});
  }
  return pools;
}

Json footprint_json(const Footprint& planned, std::uint32_t rank_count) {
  Json rows = Json::array();
  for (const FootprintRow& row : planned.rows) {
    rows.push_back({{"kind", heap::kind_name(row.kind)},
                    {"name", row.name},
                    {"groups", names_of(row.groups)},
                    {"offset", row.offset},
                    {"bytes", row.bytes},
                    {"stage", stage_of(row.stage)}});
  }
  Json by_rank = Json::array();
  for (std::uint32_t rank = 0; rank < rank_count; ++rank) {
    by_rank.push_back(planned.planned_bytes(WorldRank{rank}));
  }
  return {{"rows", rows},
          {"arena_bytes", planned.arena_bytes},
          {"virtual_bytes", planned.virtual_bytes},
          {"peak_bytes", planned.peak_bytes},
          {"control_bytes", planned.control_bytes},
          {"granule_bytes", planned.granule_bytes},
          {"planned_bytes", by_rank}};
}

}  // namespace cohort
