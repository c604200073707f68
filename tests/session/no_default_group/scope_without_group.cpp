#include <cohort/cohort.hpp>

cohort::Buffer scratch(cohort::Session& session) {
  cohort::Scope scope = session.scope();
  return scope.allocate(cohort::DType::f32, 4, 16);
}
