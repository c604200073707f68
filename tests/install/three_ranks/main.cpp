#include <iostream>

#include <cohort/cohort.hpp>

int main() try {
  using namespace cohort;
  World world = World::join(Bootstrap::from_environment());
  Plan plan(Layout(LayoutSizes{.tp = world.size()}));
  const SlotId slot =
      plan.slot("rows", {.groups = {GroupKind::tp}, .rows_max = 1, .row_elements = 4});
  Session session = commit(world, plan);  // all memory there will ever be

  Buffer rows = session.take(slot);
  for (int i = 0; i < 4; ++i) rows.as<float>()[i] = 1;
  const Verdict verdict = session.group(GroupKind::tp).all_reduce(rows.rows(0, 1), ReduceOp::sum);
  if (world.rank() == WorldRank{0}) std::cout << rows.as<float>()[0] << ": " << verdict << '\n';
  session.close();
} catch (const cohort::Error& error) {
  std::cerr << error.what() << '\n';
  return error.exit_code();
}
