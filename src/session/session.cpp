#include <utility>

#include <cohort/session.hpp>

#include "session/session_state.hpp"

namespace cohort {

Session::Session(std::unique_ptr<SessionState> state) : state_(std::move(state)) {}
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;
Session::~Session() = default;

Group Session::group(GroupKind kind) const {
  return state_->group(kind);
}

Buffer Session::take(SlotId slot) {
  return state_->take(slot);
}

Lease Session::lease(SlotId slot) {
  return state_->lease(slot);
}

Scope Session::scope(GroupKind group, Symmetry symmetry) {
  return state_->scope(group, symmetry);
}

bool Session::is_symmetric(const void* data, std::size_t bytes, GroupKind group) const noexcept {
  return state_->is_symmetric(data, bytes, group);
}

PoolUse Session::pool_use(PoolId pool) const {
  return state_->pool_use(pool);
}

void Session::verify() {
  state_->verify(state_->setup_limit());
}

void Session::verify(std::chrono::milliseconds limit) {
  state_->verify(limit);
}

PathChoice Session::explain(GroupKind group, Op op, DType dtype, std::size_t bytes) const {
  return state_->explain(group, op, dtype, bytes);
}

void Session::recommit(const Plan& next) {
  state_->recommit(next, state_->setup_limit());
}

void Session::recommit(const Plan& next, std::chrono::milliseconds limit) {
  state_->recommit(next, limit);
}

void Session::give_to_graph(Lease&& lease, Stream stream) {
  state_->give_to_graph(lease, stream);
}

Footprint Session::footprint() const {
  return state_->footprint();
}

Footprint Session::footprint(const Plan& next) const {
  return state_->footprint(next);
}

const Plan& Session::plan() const noexcept {
  return state_->plan();
}

const PathTable& Session::path_table() const {
  return state_->path_table();
}

std::uint32_t Session::generation() const noexcept {
  return state_->generation();
}

std::uint64_t Session::registrations_since_commit() const noexcept {
  return state_->registrations_since_commit();
}

std::size_t Session::measured_bytes() const {
  return state_->measured_bytes();
}

std::vector<LedgerRow> Session::ledger() const {
  return state_->ledger();
}

void Session::move(std::span<const LocalMove> moves, Stream stream) {
  state_->move(moves, stream);
}

void Session::rms_norm(ConstTensor input, const RmsNorm& norm, Stream stream) {
  state_->rms_norm(input, norm, stream);
}

void Session::wait(Stream stream) {
  state_->wait(stream);
}

void Session::close() {
  state_->close(state_->setup_limit());
}

void Session::close(std::chrono::milliseconds limit) {
  state_->close(limit);
}

}  // namespace cohort
