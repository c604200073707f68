#include <algorithm>
#include <iostream>

#include <cohort/cohort.hpp>

using namespace cohort;

int main() {
  const Layout layout({.tp = 4, .attn_cp = 2});  // 4 ranks; attention shares its tokens in pairs
  Plan plan(layout);                             // a slot names the groups that may use it
  const SlotId slot =
      plan.slot("rows", {.groups = {GroupKind::tp}, .rows_max = 4096, .row_elements = 64});
  std::cout << footprint(plan);  // known before the first byte is allocated
  run_ranks_as_threads(layout.world_size(), [&](std::unique_ptr<Bootstrap> bootstrap) {
    World world = World::join(std::move(bootstrap));
    Session session = commit(world, plan);  // all ranks or none; nothing is allocated afterwards
    for (const std::size_t n : {1U, 4096U}) {
      Buffer rows = session.take(slot);
      std::fill_n(rows.as<float>(), n * 64, static_cast<float>(world.rank().index() + 1));
      Verdict verdict = session.group(GroupKind::tp).all_reduce(rows.rows(0, n), ReduceOp::sum);
      if (world.rank().index() == 0) std::cout << rows.as<float>()[0] << " by " << verdict << '\n';
    }
    session.close();
  });
}
