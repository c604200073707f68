#pragma once

#include <cohort/world.hpp>

#include "backend/host/domain.hpp"

namespace cohort::test {

/// Returns once all ranks are here: a fault of a later call would end calls that are done as well.
inline void meet(World& world) {
  host::Domain& domain = world.domain();
  domain.all_gather({}, "meet", domain.deadline_after(domain.limits().setup));
}

}  // namespace cohort::test
