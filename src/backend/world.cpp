#include <utility>

#include <cohort/world.hpp>

#include "backend/host/domain.hpp"

namespace cohort {

World World::join(std::unique_ptr<Bootstrap> bootstrap, const WaitLimits& limits) {
  if (!bootstrap) throw Error(ErrorCode::usage, "World::join needs a bootstrap");
  return World(host::Domain::join(*bootstrap, limits));
}

World::World(std::shared_ptr<host::Domain> domain) : domain_(std::move(domain)) {}
World::World(World&&) noexcept = default;
World& World::operator=(World&&) noexcept = default;
World::~World() = default;

WorldRank World::rank() const noexcept {
  return domain_->rank();
}
std::uint32_t World::size() const noexcept {
  return domain_->rank_count();
}
const WaitLimits& World::limits() const noexcept {
  return domain_->limits();
}
void World::check(std::string_view doing) const {
  domain_->check(doing);
}
void World::fail(const Error& error) noexcept {
  domain_->publish_fault(error);
}

Health World::health() const {
  return domain_->health();
}
Idle World::idle() {
  return Idle(domain_);
}

Idle::Idle(const std::shared_ptr<host::Domain>& domain) noexcept : domain_(domain) {
  domain->begin_idle();
}
Idle& Idle::operator=(Idle&& other) noexcept {
  if (this == &other) return *this;
  end();
  domain_ = std::move(other.domain_);
  return *this;
}
Idle::~Idle() {
  end();
}
void Idle::end() noexcept {
  if (const auto domain = domain_.lock()) domain->end_idle();
  domain_.reset();
}

}  // namespace cohort
