// Recommit, step by step: the ranks agree on the next plan; each adds a segment for what the plan
// changes or adds; what peers read there is initialised, then mapped; new slots are shown to all
// who will use them; then the commit word decides, and only then the old generation goes.
//
// Up to there nothing of the old generation is touched, no channel of it is used, and a failure on
// any rank leaves all of them with the old plan.

#include <algorithm>
#include <new>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <cohort/error.hpp>

#include "base/test_point.hpp"
#include "heap/footprint.hpp"
#include "session/agree.hpp"
#include "session/session_state.hpp"

namespace cohort {
namespace {

constexpr std::string_view kPhase = "recommit";

bool has_kind(const PlannedSlot& slot, GroupKind kind) {
  return (slot.group_mask & (1U << static_cast<unsigned>(kind))) != 0;
}

/// What `rank` writes into an entry of its own, for peers to recognise: a wrong offset or a wrong
/// mapping shows something else.
std::uint64_t stamp_of(WorldRank rank, heap::EntryId entry, std::uint32_t generation) {
  const std::uint64_t where = std::uint64_t{entry.slot} << 48U ^ std::uint64_t{entry.entry} << 32U;
  return (where ^ std::uint64_t{generation} << 16U ^ rank.index()) * 0x9E37'79B9'7F4A'7C15U;
}

/// Stands for a pool where slots stand with an entry.
heap::EntryId entry_for(std::size_t pool) {
  return {0xFFFF, static_cast<std::uint32_t>(pool)};
}

}  // namespace

struct SessionState::Next {
  std::uint32_t generation = 0;
  Plan plan;
  heap::ArenaLayout layout;
  std::unique_ptr<heap::HeapView> view;
  std::unique_ptr<heap::SlotRings> rings;
  std::optional<heap::Pools::Next> pools;
  std::unique_ptr<collectives::Executor> executor;
};

heap::ArenaLayout SessionState::layout_after(const Plan& next) const {
  heap::check_succession(plan_, next);
  return heap::arena_layout(layout_, plan_, next);
}

Footprint SessionState::footprint() const {
  return heap::footprint_of(plan_, layout_);
}

Footprint SessionState::footprint(const Plan& next) const {
  return heap::footprint_of(next, layout_after(next));
}

void SessionState::recommit(const Plan& plan, std::chrono::milliseconds limit) {
  check_open();
  domain_->check("recommitting");
  const auto deadline = domain_->deadline_after(limit);
  const std::uint64_t strays = registrations_since_commit();
  test_point("recommit.begin");
  Next next{domain_->begin_attempt(), plan, {}, nullptr, nullptr, std::nullopt, nullptr};
  try {
    make_next(plan, next, deadline);
    test_point("recommit.decide");
    domain_->conclude_attempt(deadline);
  } catch (const Error& error) {
    drop_extension(strays);
    domain_->abort_attempt(error);
  } catch (const std::exception& error) {
    const bool memory = dynamic_cast<const std::bad_alloc*>(&error) != nullptr;
    drop_extension(strays);
    domain_->abort_attempt(Error(
        memory ? ErrorCode::out_of_memory : ErrorCode::system,
        "recommit failed on rank " + std::to_string(domain_->rank().index()) + ": " + error.what(),
        domain_->rank(), std::string(kPhase)));
  }
  replace(next);
}

void SessionState::make_next(const Plan& plan, Next& next, host::Domain::TimePoint deadline) {
  test_point("recommit.agree");
  agree_on_plan(*domain_, plan, kPhase, deadline);
  next.layout = layout_after(plan);
  refuse_what_strict_forbids(plan);
  test_point("recommit.allocate");
  run_agreed(*domain_, kPhase, deadline, StepKind::local, [&] { extend(next); });
  test_point("recommit.map");
  run_agreed(*domain_, kPhase, deadline, StepKind::exchanging, [&] { map_next(next, deadline); });
  if (plan.options().nccl != NcclUse::off) {
    // Not by steps: members wait for each other within NCCL, and hear that one has failed only by
    // the attempt's end.
    test_point("recommit.nccl");
    memory_->extend_nccl(*arena_, deadline);
  }
  test_point("recommit.stamp");
  run_agreed(*domain_, kPhase, deadline, StepKind::local, [&] { stamp_new_slots(next); });
  test_point("recommit.prove");
  run_agreed(*domain_, kPhase, deadline, StepKind::local, [&] {
    check_new_slots(next);
    check_new_pools(next);
  });
}

void SessionState::extend(Next& next) {
  executor_->check_idle();
  const std::size_t added = next.layout.arena.bytes - layout_.arena.bytes;
  const std::size_t added_privately = next.layout.private_slots.bytes - layout_.private_slots.bytes;
  if (added != 0) arena_->extend(added);
  const std::size_t added_words = next.layout.host_words.bytes - layout_.host_words.bytes;
  if (added_words != 0) host_words_->extend(added_words);
  if (added_privately != 0) private_slots_->extend(added_privately);
  for (std::size_t i = 0; i < next.plan.slots_.size(); ++i) {
    next.plan.slots_[i].offset = next.layout.slots[i].offset;
  }
  next.view = std::make_unique<heap::HeapView>(next.plan, next.layout, stage_, slots());
  next.rings = std::make_unique<heap::SlotRings>(next.plan, next.layout.reader_count(stage_));
  next.rings->continue_from(next.plan, *rings_, plan_);
  next.pools.emplace(
      scopes_->pools.after(next.plan, next.layout, next.layout.reader_count(stage_)));
}

void SessionState::map_next(Next& next, host::Domain::TimePoint deadline) {
  ExecutorParts parts{*arena_,     host_words_.get(), next.plan, next.layout,    slots(),
                      *next.rings, scopes_->pools,    nodes_,    next.generation};
  parts.kept_bytes = layout_.arena.bytes;
  parts.previous = executor_.get();
  parts.crowded = crowded_;
  next.executor = memory_->make_executor(parts);
  arena_->map_peers(deadline);
  if (host_words_) host_words_->map_peers(deadline);
  next.executor->attach();
}

/// A pool of the next plan that lies where nothing has been shown to anybody yet.
bool SessionState::is_new_pool(std::size_t pool, const Next& next) const {
  return pool >= plan_.pools().size() ||
         next.layout.pool_offsets[pool] != layout_.pool_offsets[pool];
}

bool SessionState::is_new(std::uint32_t slot, const Next& next) const {
  const PlannedSlot& planned = next.plan.slots()[slot];
  if (!planned.exists_in(stage_)) return false;
  return slot >= plan_.slots().size() || !(plan_.slots()[slot].spec == planned.spec);
}

void SessionState::stamp_new_slots(const Next& next) const {
  if (!next.layout.slots_in_arena) return;
  for (std::uint32_t slot = 0; slot < next.plan.slots().size(); ++slot) {
    if (!is_new(slot, next)) continue;
    const PlannedSlot& planned = next.plan.slots()[slot];
    for (std::uint32_t entry = 0; entry < planned.entries(); ++entry) {
      const heap::EntryId id{slot, entry};
      const std::uint64_t stamp = stamp_of(domain_->rank(), id, next.generation);
      memory_->write_stamps(next.view->address_of(id), planned.entry_bytes, stamp);
    }
  }
  for (std::size_t pool = 0; pool < next.plan.pools().size(); ++pool) {
    if (!is_new_pool(pool, next)) continue;
    const std::uint64_t stamp = stamp_of(domain_->rank(), entry_for(pool), next.generation);
    memory_->write_stamps(slots() + next.layout.pool_offsets[pool], next.plan.pools()[pool].bytes,
                          stamp);
  }
}

// Each member looks at one other member's copy of each entry, as its peers will.
void SessionState::check_new_slots(const Next& next) const {
  if (!next.layout.slots_in_arena) return;
  for (std::uint32_t slot = 0; slot < next.plan.slots().size(); ++slot) {
    if (!is_new(slot, next)) continue;
    const PlannedSlot& planned = next.plan.slots()[slot];
    for (std::uint32_t entry = 0; entry < planned.entries(); ++entry) {
      const heap::EntryId id{slot, entry};
      for (const GroupKind kind : all_group_kinds()) {
        const auto ranks = groups_.group_of(kind, domain_->rank());
        if (!has_kind(planned, kind) || ranks.empty()) continue;
        const WorldRank peer = ranks[(slot + entry + domain_->rank().index()) % ranks.size()];
        const std::uint64_t stamp = stamp_of(peer, id, next.generation);
        const std::byte* const theirs =
            arena_->of(peer) + planned.offset + entry * planned.entry_bytes;
        if (!memory_->has_stamps(theirs, planned.entry_bytes, stamp)) {
          throw Error(ErrorCode::system,
                      "slot '" + planned.name + "' entry " + std::to_string(entry) +
                          " does not show what rank " + std::to_string(peer.index()) +
                          " wrote into it",
                      peer, std::string(kPhase));
        }
      }
    }
  }
}

void SessionState::check_new_pools(const Next& next) const {
  if (!next.layout.slots_in_arena) return;
  for (std::size_t pool = 0; pool < next.plan.pools().size(); ++pool) {
    if (!is_new_pool(pool, next)) continue;
    const PlannedPool& planned = next.plan.pools()[pool];
    for (const PoolGroup& group : planned.spec.groups) {
      const auto ranks = groups_.group_of(group.kind, domain_->rank());
      if (ranks.empty()) continue;
      const WorldRank peer = ranks[(pool + domain_->rank().index()) % ranks.size()];
      const std::uint64_t stamp = stamp_of(peer, entry_for(pool), next.generation);
      const std::byte* const theirs = arena_->of(peer) + next.layout.pool_offsets[pool];
      if (!memory_->has_stamps(theirs, planned.bytes, stamp)) {
        throw Error(ErrorCode::system,
                    "pool '" + planned.name + "' does not show what rank " +
                        std::to_string(peer.index()) + " wrote into it",
                    peer, std::string(kPhase));
      }
    }
  }
}

void SessionState::drop_extension(std::uint64_t strays) noexcept {
  memory_->shrink_nccl(*arena_, layout_.arena.bytes);
  arena_->shrink_to(layout_.arena.bytes);
  if (private_slots_) private_slots_->shrink_to(layout_.private_slots.bytes);
  if (host_words_) host_words_->shrink_to(layout_.host_words.bytes);
  registrations_at_commit_ = registrations() - strays;
}

void SessionState::replace(Next& next) noexcept {
  next.executor->inherit_ledger(*executor_);
  plan_ = std::move(next.plan);
  layout_ = std::move(next.layout);
  view_ = std::move(next.view);
  executor_ = std::move(next.executor);
  rings_ = std::move(next.rings);
  scopes_->pools.adopt(*next.pools);
  generation_ = next.generation;
  registrations_at_commit_ = registrations();
}

}  // namespace cohort
