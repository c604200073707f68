#include "plan.hpp"

#include <memory>
#include <optional>
#include <ostream>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <cohort/plan.hpp>
#include <cohort/version.hpp>

#include "engine/plan_slots.hpp"
#include "generate_options.hpp"
#include "heap/footprint.hpp"
#include "model/gguf.hpp"
#include "model/model_config.hpp"

namespace cohort {

namespace {

using Json = nlohmann::ordered_json;

struct PlanFlags {
  EngineFlags engine;
  bool json = false;
};

constexpr const char* kFooter =
    R"(The same plan that 'cohort generate' commits with these flags: every buffer, its place in the
arena of a rank, and all bytes. No rank is started.

Exit codes: 0; 2 for flags or a model that cannot be used; 1 for all else.

Examples:
  # What one arena needs, and whether this machine has room for four of that size:
  cohort plan --model SmolLM2.gguf --tp 4 --attn-dp 2 --attn-cp 2
  cohort check --ranks 4 --arena 16MiB

  # Longer steps, for a script:
  cohort plan --model SmolLM2.gguf --tp 4 --attn-dp 4 --max-step-tokens 2048 --json)";

Json names_of(const std::vector<GroupKind>& groups) {
  Json names = Json::array();
  for (const GroupKind group : groups) names.push_back(cohort::to_string(group));
  return names;
}

/// null for what ranks of all stages hold.
Json stage_of(const std::optional<std::uint32_t>& stage) {
  return stage ? Json(*stage) : Json(nullptr);
}

Json describe_slots(const Plan& plan) {
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

Json describe_pools(const Plan& plan) {
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

Json describe_footprint(const Footprint& planned, std::uint32_t rank_count) {
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

void print_plan(const PlanFlags& flags, std::ostream& output) {
  const GgufFile file = GgufFile::open(flags.engine.model);
  const ModelConfig config = model_config_from(file);
  const Layout layout(flags.engine.layout.sizes());
  Plan plan(layout, flags.engine.plan_options());
  static_cast<void>(plan_slots(plan, config, flags.engine.spec(config)));
  const Footprint planned = footprint(plan);
  if (!flags.json) {
    output << planned;
    for (const std::string& line : plan.options().path_table.lines()) output << line << '\n';
    return;
  }
  const LayoutSizes& sizes = layout.sizes();
  const Json document{{"schema", 1},
                      {"version", COHORT_VERSION},
                      {"layout",
                       {{"ranks", layout.world_size()},
                        {"tp", sizes.tp},
                        {"attn_dp", sizes.attn_dp},
                        {"attn_cp", sizes.attn_cp},
                        {"attn_tp", layout.attn_tp()}}},
                      {"paths", plan.options().path_table.lines()},
                      {"slots", describe_slots(plan)},
                      {"pools", describe_pools(plan)},
                      {"footprint", describe_footprint(planned, layout.world_size())}};
  output << document.dump() << '\n';
}

}  // namespace

void add_plan_command(CLI::App& app, std::ostream& output) {
  const auto flags = std::make_shared<PlanFlags>();
  CLI::App* command = app.add_subcommand(
      "plan", "Print the slots, offsets and memory of a model's engine in a layout");
  add_engine_flags(*command, flags->engine);
  command->add_flag("--json", flags->json, "Print one JSON document instead of a table");
  command->footer(kFooter);
  command->callback([flags, &output] { print_plan(*flags, output); });
}

}  // namespace cohort
