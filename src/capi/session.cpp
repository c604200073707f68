// A committed session of the C interface, but for its collectives.

#include <chrono>
#include <string>
#include <utility>

#include "capi/numbers.hpp"
#include "capi/objects.hpp"
#include "capi/structs.hpp"

using namespace cohort;
using namespace cohort::capi;

namespace {

Session& session_of(cohort_session session) {
  return get<SessionObject>(session).session;
}

}  // namespace

void cohort::capi::give_buffer(const Buffer& buffer, cohort_buffer* target) {
  cohort_buffer told{};
  told.data = buffer.data();
  told.rows_max = buffer.rows_max();
  told.row_elements = buffer.row_elements();
  told.dtype = number_of(buffer.dtype());
  told.slot = buffer.is_block() ? COHORT_NO_SLOT : buffer.slot().index();
  told.entry = buffer.entry();
  write_struct(told, target, "buffer");
}

extern "C" {

int cohort_commit(cohort_world world, cohort_plan plan, cohort_session* session) {
  return guarded([&] {
    const std::shared_ptr<World>& met = get<WorldObject>(world).world;
    const Plan& planned = get<PlanObject>(plan).plan;
    require(session, "session");
    give(std::make_unique<SessionObject>(met, commit(*met, planned)), session);
  });
}

int cohort_commit_with(cohort_world world, cohort_plan plan, const cohort_commit_options* options,
                       cohort_session* session) {
  return guarded([&] {
    const std::shared_ptr<World>& met = get<WorldObject>(world).world;
    const Plan& planned = get<PlanObject>(plan).plan;
    const cohort_commit_options given = read_optional_struct(options, "options");
    require(session, "session");
    CommitOptions wanted;
    if (given.one_plus_device > 0) wanted.device = given.one_plus_device - 1;
    give(std::make_unique<SessionObject>(met, commit(*met, planned, wanted)), session);
  });
}

int cohort_wait(cohort_session session, void* stream) {
  return guarded([&] { session_of(session).wait({stream}); });
}

int cohort_recommit(cohort_session session, cohort_plan next, int64_t timeout_ms) {
  return guarded([&] {
    Session& known = session_of(session);
    const Plan& planned = get<PlanObject>(next).plan;
    if (timeout_ms > 0) {
      known.recommit(planned, std::chrono::milliseconds(timeout_ms));
    } else {
      known.recommit(planned);
    }
  });
}

int cohort_session_footprint(cohort_session session, cohort_plan next,
                             cohort_footprint* footprint) {
  return guarded([&] {
    const Session& known = session_of(session);
    give_footprint(
        next == nullptr ? known.footprint() : known.footprint(get<PlanObject>(next).plan),
        footprint);
  });
}

int cohort_group_size(cohort_session session, uint32_t kind, uint32_t* size) {
  return guarded([&] {
    const Group group = session_of(session).group(group_kind_of(kind));
    require(size, "size");
    *size = group.size();
  });
}

int cohort_group_rank(cohort_session session, uint32_t kind, uint32_t* rank) {
  return guarded([&] {
    const Group group = session_of(session).group(group_kind_of(kind));
    require(rank, "rank");
    *rank = group.rank().index();
  });
}

int cohort_group_ranks(cohort_session session, uint32_t kind, uint32_t* ranks, size_t capacity,
                       size_t* count) {
  return guarded([&] {
    const Group group = session_of(session).group(group_kind_of(kind));
    give_ranks(group.ranks(), ranks, capacity, count);
  });
}

int cohort_take(cohort_session session, uint32_t slot, cohort_buffer* buffer) {
  return guarded([&] {
    Session& known = session_of(session);
    // Before anything is taken: a refused struct must not put this rank's ring out of step.
    static_cast<void>(size_given(buffer, "buffer"));
    give_buffer(known.take(SlotId{slot}), buffer);
  });
}

int cohort_lease_take(cohort_session session, uint32_t slot, cohort_lease* lease,
                      cohort_buffer* buffer) {
  return guarded([&] {
    Session& known = session_of(session);
    // Before anything is taken, as in cohort_take.
    static_cast<void>(size_given(buffer, "buffer"));
    require(lease, "lease");
    auto held = std::make_unique<LeaseObject>();
    held->lease = known.lease(SlotId{slot});
    give_buffer(held->lease.buffer(), buffer);
    give(std::move(held), lease);
  });
}

int cohort_lease_free(cohort_lease lease) {
  return free_handle<LeaseObject>(lease);
}

int cohort_lease_give_to_graph(cohort_session session, cohort_lease lease, void* stream) {
  return guarded([&] {
    Session& known = session_of(session);
    known.give_to_graph(std::move(get<LeaseObject>(lease).lease), {stream});
    release_handle(LeaseObject::kKind, reinterpret_cast<std::uintptr_t>(lease));
  });
}

int cohort_explain(cohort_session session, uint32_t kind, uint32_t op, uint32_t dtype, size_t bytes,
                   cohort_verdict* verdict) {
  return guarded([&] {
    const PathChoice choice =
        session_of(session).explain(group_kind_of(kind), op_of(op), dtype_of(dtype), bytes);
    cohort_verdict told{};
    told.path = number_of(choice.path);
    told.reason = number_of(choice.reason);
    write_struct(told, verdict, "verdict");
  });
}

int cohort_registrations_since_commit(cohort_session session, uint64_t* count) {
  return guarded([&] {
    const Session& known = session_of(session);
    require(count, "count");
    *count = known.registrations_since_commit();
  });
}

int cohort_measured_bytes(cohort_session session, size_t* bytes) {
  return guarded([&] {
    const Session& known = session_of(session);
    require(bytes, "bytes");
    *bytes = known.measured_bytes();
  });
}

int cohort_close(cohort_session session, int64_t timeout_ms) {
  return guarded([&] {
    const auto object =
        release_handle(HandleKind::session, reinterpret_cast<std::uintptr_t>(session));
    auto& known = static_cast<SessionObject&>(*object).session;
    if (timeout_ms > 0) {
      known.close(std::chrono::milliseconds(timeout_ms));
    } else {
      known.close();
    }
  });
}

int cohort_ledger_read(cohort_session session, cohort_ledger* ledger) {
  return guarded([&] {
    const Session& known = session_of(session);
    require(ledger, "ledger");
    auto copy = std::make_unique<LedgerObject>();
    copy->rows = known.ledger();
    for (const LedgerRow& row : copy->rows) {
      std::vector<std::uint32_t>& ranks = copy->ranks.emplace_back();
      for (const WorldRank rank : row.ranks) ranks.push_back(rank.index());
    }
    give(std::move(copy), ledger);
  });
}

int cohort_ledger_size(cohort_ledger ledger, size_t* rows) {
  return guarded([&] {
    const LedgerObject& known = get<LedgerObject>(ledger);
    require(rows, "rows");
    *rows = known.rows.size();
  });
}

int cohort_ledger_get(cohort_ledger ledger, size_t index, cohort_ledger_row* row) {
  return guarded([&] {
    const LedgerObject& known = get<LedgerObject>(ledger);
    if (index >= known.rows.size()) {
      throw Error(ErrorCode::usage, "row " + std::to_string(index) + " of a ledger of " +
                                        std::to_string(known.rows.size()));
    }
    const LedgerRow& from = known.rows[index];
    cohort_ledger_row told{};
    told.ranks = known.ranks[index].data();
    told.ranks_count = known.ranks[index].size();
    told.group = number_of(from.group);
    told.op = number_of(from.op);
    told.path = number_of(from.path);
    told.reason = number_of(from.reason);
    told.calls = from.calls;
    told.bytes = from.bytes;
    told.copied_bytes = from.copied_bytes;
    told.transfer_s = from.transfer_s;
    told.wait_s = from.wait_s;
    write_struct(told, row, "row");
  });
}

int cohort_ledger_free(cohort_ledger ledger) {
  return free_handle<LedgerObject>(ledger);
}

}  // extern "C"
