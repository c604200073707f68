// Pools and scopes of the C interface.

#include <algorithm>
#include <string>

#include "capi/numbers.hpp"
#include "capi/objects.hpp"
#include "capi/structs.hpp"

using namespace cohort;
using namespace cohort::capi;

extern "C" {

int cohort_scope_open(cohort_session session, uint32_t kind, uint32_t symmetry_off,
                      cohort_scope* scope) {
  return guarded([&] {
    Session& known = get<SessionObject>(session).session;
    const bool off = flag_of(symmetry_off, "symmetry_off");
    require(scope, "scope");
    give(std::make_unique<ScopeObject>(
             known.scope(group_kind_of(kind), off ? Symmetry::off : Symmetry::on)),
         scope);
  });
}

int cohort_scope_allocate(cohort_scope scope, uint32_t dtype, size_t rows, size_t row_elements,
                          cohort_buffer* block) {
  return guarded([&] {
    ScopeObject& known = get<ScopeObject>(scope);
    const DType type = dtype_of(dtype);
    // Before anything is allocated: a refusal must not put this rank out of step.
    static_cast<void>(size_given(block, "block"));
    known.live.push_back(known.scope.allocate(type, rows, row_elements));
    give_buffer(known.live.back(), block);
  });
}

int cohort_scope_release(cohort_scope scope, const void* data) {
  return guarded([&] {
    ScopeObject& known = get<ScopeObject>(scope);
    const auto found = std::find_if(known.live.rbegin(), known.live.rend(),
                                    [&](const Buffer& block) { return block.data() == data; });
    if (data == nullptr || found == known.live.rend()) {
      throw Error(ErrorCode::usage, "data is not that of a live block of this scope");
    }
    known.scope.release(*found);
    known.live.erase(std::next(found).base());
  });
}

int cohort_scope_free(cohort_scope scope) {
  return free_handle<ScopeObject>(scope);
}

int cohort_pool_usage(cohort_session session, uint32_t pool, cohort_pool_use* use) {
  return guarded([&] {
    const PoolUse known = get<SessionObject>(session).session.pool_use(PoolId{pool});
    cohort_pool_use told{};
    told.bytes = known.bytes;
    told.live_bytes = known.live_bytes;
    told.peak_bytes = known.peak_bytes;
    told.live_blocks = known.live_blocks;
    told.over_budget_blocks = known.over_budget_blocks;
    told.over_budget_bytes = known.over_budget_bytes;
    write_struct(told, use, "use");
  });
}

int cohort_is_symmetric(cohort_session session, const void* data, size_t bytes, uint32_t kind,
                        uint32_t* symmetric) {
  return guarded([&] {
    const Session& known = get<SessionObject>(session).session;
    const GroupKind group = group_kind_of(kind);
    require(symmetric, "symmetric");
    *symmetric = known.is_symmetric(data, bytes, group) ? 1 : 0;
  });
}

int cohort_verify(cohort_session session) {
  return guarded([&] { get<SessionObject>(session).session.verify(); });
}

}  // extern "C"
