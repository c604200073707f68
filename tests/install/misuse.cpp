// What must not compile: each case is one mistake that the types rule out. Case 0 is the correct
// use, so that the others fail for their own reason and not for a missing header.
#include <cohort/cohort.hpp>

cohort::Verdict use(cohort::Session& session, cohort::Buffer& buffer) {
  using namespace cohort;
  const Tensor operand = buffer.rows(0, 1);
  const Group group = session.group(GroupKind::tp);
#if MISUSE == 1  // a rank is not a number
  return group.broadcast(operand, 0);
#elif MISUSE == 2  // a world rank is no group rank
  return group.broadcast(operand, WorldRank{0});
#elif MISUSE == 3  // nor the other way round
  return group.to_world(GroupRank{0}) == GroupRank{0} ? Verdict{} : Verdict{};
#elif MISUSE == 4  // a verdict is not to be overlooked: an error where warnings are
  group.barrier();
  return {};
#elif MISUSE == 5  // owners are not copied
  const Session copy = session;
  return group.barrier();
#else
  return group.broadcast(operand, GroupRank{0});
#endif
}
