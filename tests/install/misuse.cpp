// What must not compile: each case is one mistake that the types rule out. Case 0 is the correct
// use, so that the others fail for their own reason and not for a missing header.
#include <cohort/cohort.hpp>

cohort::Verdict use(cohort::Session& session, cohort::Buffer& buffer) {
  using namespace cohort;
  const Tensor operand = buffer.rows(0, 1);
#if MISUSE == 1  // there is no default group
  const Group group = session.group();
#else
  const Group group = session.group(GroupKind::tp);
#endif

#if MISUSE == 2  // a collective belongs to a group
  return session.all_reduce(operand, ReduceOp::sum);
#elif MISUSE == 3  // a rank is not a number
  return group.broadcast(operand, 0);
#elif MISUSE == 4  // a world rank is no group rank
  return group.broadcast(operand, WorldRank{0});
#elif MISUSE == 5  // nor the other way round
  return group.to_world(WorldRank{0}) == WorldRank{0} ? Verdict{} : Verdict{};
#elif MISUSE == 6  // a verdict is not to be overlooked: an error where warnings are
  group.barrier();
  return {};
#elif MISUSE == 7  // owners are not copied
  const Session copy = session;
  return group.barrier();
#else
  return group.broadcast(operand, GroupRank{0});
#endif
}
