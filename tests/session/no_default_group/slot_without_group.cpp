#include <cohort/cohort.hpp>

cohort::Buffer scratch(cohort::Session& session) {
  return session.take();
}
