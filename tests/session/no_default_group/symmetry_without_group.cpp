#include <cohort/cohort.hpp>

bool is_symmetric(const cohort::Session& session, const cohort::Buffer& buffer) {
  return session.is_symmetric(buffer.data(), 64);
}
