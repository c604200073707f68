// Four ranks, each a process of its own: cohort run -n 4 -- 02_ranks_as_processes
// They find each other by the launcher's environment; started alone, it is a world of one rank.

#include <algorithm>
#include <iostream>

#include <cohort/cohort.hpp>

using namespace cohort;

int main() try {
  World world = World::join(Bootstrap::from_environment());
  Plan plan(Layout(LayoutSizes{.tp = world.size()}));
  const SlotId slot =
      plan.slot("rows", {.groups = {GroupKind::tp}, .rows_max = 2, .row_elements = 4});
  Session session = commit(world, plan);

  const Group tp = session.group(GroupKind::tp);
  Buffer rows = session.take(slot);
  std::fill_n(rows.as<float>(), 2 * 4, static_cast<float>(world.rank().index() + 1));
  const Verdict verdict = tp.all_reduce(rows.rows(0, 2), ReduceOp::sum);
  if (world.rank() == WorldRank{0}) {
    std::cout << "the sum over " << tp.size() << " ranks is " << rows.as<float>()[0] << ", by "
              << to_string(verdict.path) << '\n';
  }
  session.close();
} catch (const Error& error) {
  std::cerr << to_string(error.code()) << ": " << error.what() << '\n';
  return error.exit_code();
}
