// Memory as a program goes along: blocks of a scope come from a budget that the plan reserves, so
// nothing is registered or grown, and what a budget has no room for still works, and says so.

#include <algorithm>
#include <iostream>

#include <cohort/cohort.hpp>

using namespace cohort;

namespace {

void sum_block(Session& session, Scope& scope, WorldRank rank, std::size_t rows) {
  const Buffer block = scope.allocate(DType::f32, rows, 16);
  std::fill_n(block.as<float>(), rows * 16, static_cast<float>(rank.index() + 1));
  const Verdict verdict =
      session.group(scope.group()).all_reduce(block.rows(0, rows), ReduceOp::sum);
  if (rank == WorldRank{0}) {
    std::cout << rows << " rows over " << to_string(scope.group()) << ": " << block.as<float>()[0]
              << ", " << to_string(verdict.reason) << '\n';
  }
}

}  // namespace

int main() {
  const Layout layout({.tp = 4, .attn_cp = 2});
  Plan plan(layout);
  // One budget for both groups: what one of them has released, the other may get.
  const PoolId pool = plan.pool("activations", {.groups = {GroupKind::tp, GroupKind::attn_cp},
                                                .bytes = 64 * 1024,
                                                .block_bytes_max = 64 * 1024});
  run_ranks_as_threads(layout.world_size(), [&](std::unique_ptr<Bootstrap> bootstrap) {
    World world = World::join(std::move(bootstrap));
    Session session = commit(world, plan);
    {
      Scope over_tp = session.scope(GroupKind::tp);
      sum_block(session, over_tp, world.rank(), 768);
      Scope over_attn_cp = session.scope(GroupKind::attn_cp);  // scopes nest
      sum_block(session, over_attn_cp, world.rank(), 512);     // 48 of 64 KiB are taken
    }
    // The end of a scope frees its blocks, without a word to the others.
    Scope again = session.scope(GroupKind::attn_cp);
    sum_block(session, again, world.rank(), 512);
    session.verify();  // collective: all ranks did the same
    if (world.rank() == WorldRank{0}) {
      std::cout << "at most " << session.pool_use(pool).peak_bytes << " bytes at once, "
                << session.registrations_since_commit() << " registrations\n";
    }
    session.close();
  });
}
