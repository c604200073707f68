// Layouts and plans of the C interface.

#include <algorithm>
#include <cstring>
#include <sstream>
#include <string>

#include "capi/numbers.hpp"
#include "capi/objects.hpp"
#include "capi/structs.hpp"

using namespace cohort;
using namespace cohort::capi;

namespace {

std::uint32_t one_if_zero(std::uint32_t value) noexcept {
  return value == 0 ? 1 : value;
}

}  // namespace

void cohort::capi::give_text(const std::string& whole, char* text, std::size_t capacity,
                             std::size_t* length) {
  if (capacity > 0) require(text, "text");
  require(length, "length");
  if (capacity > 0) {
    const std::size_t written = std::min(whole.size(), capacity - 1);
    std::memcpy(text, whole.data(), written);
    text[written] = '\0';
  }
  *length = whole.size();
}

std::vector<GroupKind> cohort::capi::groups_of(std::uint32_t bits) {
  std::vector<GroupKind> kinds;
  for (std::uint32_t kind = 0; kind < 32; ++kind) {
    if ((bits & (1U << kind)) != 0) kinds.push_back(group_kind_of(kind));
  }
  return kinds;
}

void cohort::capi::give_footprint(const Footprint& footprint, cohort_footprint* target) {
  cohort_footprint bytes{};
  bytes.arena_bytes = footprint.arena_bytes;
  bytes.control_bytes = footprint.control_bytes;
  bytes.granule_bytes = footprint.granule_bytes;
  bytes.virtual_bytes = footprint.virtual_bytes;
  bytes.peak_bytes = footprint.peak_bytes;
  bytes.host_bytes = footprint.host_bytes;
  write_struct(bytes, target, "footprint");
}

extern "C" {

int cohort_layout_create(const cohort_layout_sizes* sizes, cohort_layout* layout) {
  return guarded([&] {
    const cohort_layout_sizes given = read_struct(sizes, "sizes");
    require(layout, "layout");
    LayoutSizes wanted;
    wanted.tp = one_if_zero(given.tp);
    wanted.attn_dp = one_if_zero(given.attn_dp);
    wanted.attn_cp = one_if_zero(given.attn_cp);
    wanted.ep = one_if_zero(given.ep);
    wanted.moe_dp = one_if_zero(given.moe_dp);
    wanted.pp = one_if_zero(given.pp);
    wanted.dcp = one_if_zero(given.dcp);
    wanted.ranks_per_host = given.ranks_per_host;
    give(std::make_unique<LayoutObject>(wanted), layout);
  });
}

int cohort_layout_world_size(cohort_layout layout, uint32_t* world_size) {
  return guarded([&] {
    const Layout& known = get<LayoutObject>(layout).layout;
    require(world_size, "world_size");
    *world_size = known.world_size();
  });
}

int cohort_layout_group(cohort_layout layout, uint32_t kind, uint32_t rank, uint32_t* ranks,
                        size_t capacity, size_t* count) {
  return guarded([&] {
    const Layout& known = get<LayoutObject>(layout).layout;
    if (rank >= known.world_size()) {
      throw Error(ErrorCode::usage, "rank " + std::to_string(rank) + " in a world of " +
                                        std::to_string(known.world_size()));
    }
    give_ranks(known.group_of(group_kind_of(kind), WorldRank{rank}), ranks, capacity, count);
  });
}

int cohort_layout_free(cohort_layout layout) {
  return free_handle<LayoutObject>(layout);
}

int cohort_plan_create(cohort_layout layout, const cohort_plan_options* options,
                       cohort_plan* plan) {
  return guarded([&] {
    const Layout& known = get<LayoutObject>(layout).layout;
    const cohort_plan_options given = read_optional_struct(options, "options");
    require(plan, "plan");
    PlanOptions wanted;
    wanted.symmetry =
        flag_of(given.symmetry_off, "options.symmetry_off") ? Symmetry::off : Symmetry::on;
    wanted.strict = flag_of(given.strict, "options.strict");
    wanted.lanes = one_if_zero(given.lanes);
    wanted.reserve_bytes = given.reserve_bytes;
    wanted.memory = flag_of(given.memory, "options.memory") ? Memory::cuda : Memory::host;
    wanted.nccl = nccl_use_of(given.nccl);
    give(std::make_unique<PlanObject>(Plan(known, wanted)), plan);
  });
}

int cohort_plan_slot(cohort_plan plan, const char* name, const cohort_slot_spec* spec,
                     uint32_t* slot) {
  return guarded([&] {
    Plan& known = get<PlanObject>(plan).plan;
    require(name, "name");
    const cohort_slot_spec given = read_struct(spec, "spec");
    require(slot, "slot");
    SlotSpec wanted;
    wanted.groups = groups_of(given.groups);
    wanted.dtype = dtype_of(given.dtype);
    wanted.rows_max = given.rows_max;
    wanted.row_elements = given.row_elements;
    wanted.depth = one_if_zero(given.depth);
    wanted.leases = given.leases;
    if (given.one_plus_stage > 0) wanted.stage = given.one_plus_stage - 1;
    *slot = known.slot(name, wanted).index();
  });
}

int cohort_plan_pool(cohort_plan plan, const char* name, const cohort_pool_spec* spec,
                     uint32_t* pool) {
  return guarded([&] {
    Plan& known = get<PlanObject>(plan).plan;
    require(name, "name");
    const cohort_pool_spec given = read_struct(spec, "spec");
    require(pool, "pool");
    PoolSpec wanted;
    for (const GroupKind kind : groups_of(given.groups)) wanted.groups.emplace_back(kind);
    wanted.bytes = given.bytes;
    wanted.block_bytes_max = given.block_bytes_max;
    *pool = known.pool(name, wanted).index();
  });
}

int cohort_plan_send_recv(cohort_plan plan, uint32_t kind, size_t staged_bytes_max) {
  return guarded([&] {
    Plan& known = get<PlanObject>(plan).plan;
    known.send_recv(group_kind_of(kind), {.staged_bytes_max = staged_bytes_max});
  });
}

int cohort_plan_footprint(cohort_plan plan, cohort_footprint* footprint) {
  return guarded([&] { give_footprint(cohort::footprint(get<PlanObject>(plan).plan), footprint); });
}

int cohort_plan_describe(cohort_plan plan, char* text, size_t capacity, size_t* length) {
  return guarded([&] {
    std::ostringstream table;
    table << cohort::footprint(get<PlanObject>(plan).plan);
    give_text(table.str(), text, capacity, length);
  });
}

int cohort_plan_free(cohort_plan plan) {
  return free_handle<PlanObject>(plan);
}

}  // extern "C"
