#include "session/session_state.hpp"

#include <algorithm>
#include <cstring>
#include <string>

#include <cohort/error.hpp>

#include "backend/host/host_backend.hpp"
#include "backend/host/memory_node.hpp"
#include "base/log.hpp"
#include "base/test_point.hpp"
#include "collectives/cuda/device_calls.hpp"
#include "collectives/header.hpp"
#include "collectives/host/last_calls.hpp"
#include "collectives/path_table.hpp"
#include "session/agree.hpp"

namespace cohort {

SessionState::SessionState(host::Domain& domain, const Plan& plan, std::uint32_t generation)
    : domain_(&domain),
      groups_(plan.layout()),
      plan_(plan),
      generation_(generation),
      stage_(plan_.layout().pipeline_stage(domain.rank())),
      layout_(heap::arena_layout(plan_)) {}

SessionState::~SessionState() {
  domain_->remove_history(*this);
  release_leases();
  if (scopes_) scopes_->session = nullptr;
  if (sealed_ && !closed_ && !domain_->poisoned()) tell_of_dropping();
  end_calls();
}

/// Collective work in a destructor could hang; peers learn of it as they would of a death.
void SessionState::tell_of_dropping() noexcept {
  log(LogLevel::warning,
      "rank " + std::to_string(domain_->rank().index()) + " dropped its session without close()");
  domain_->publish_fault(Error(
      ErrorCode::peer_failed,
      "rank " + std::to_string(domain_->rank().index()) + " dropped its session without closing it",
      domain_->rank(), "close"));
}

/// Before the arena goes: kernels that still run would fault, and take the process's GPU with them.
void SessionState::end_calls() noexcept {
  // Kernels of NCCL that wait for peers in vain hold up the stream in front of our own.
  if (memory_ && domain_->poisoned()) memory_->abandon_nccl();
  const bool ended =
      !executor_ || executor_->quiesce(domain_->deadline_after(domain_->limits().steady));
  if (memory_) {
    memory_->abandon_nccl();
    memory_->stop();
  }
  if (ended) return;
  log(LogLevel::error, "rank " + std::to_string(domain_->rank().index()) +
                           " keeps memory of a session whose calls have not ended");
  static_cast<void>(executor_.release());
  static_cast<void>(arena_.release());
  static_cast<void>(host_words_.release());
  static_cast<void>(memory_.release());
}

void SessionState::open_memory(const CommitOptions& options) {
  memory_ = make_session_memory(*domain_, plan_.options().memory, options);
}

void SessionState::allocate(Backend& backend) {
  if (!memory_) open_memory({});
  const auto take = [&backend](const heap::AddressRange& range) {
    return backend.allocate(range.bytes, range.reserved_bytes);
  };
  arena_ = take(layout_.arena);
  if (layout_.private_slots.bytes != 0) private_slots_ = take(layout_.private_slots);
  if (layout_.host_words.bytes != 0) {
    host::HostBackend host(domain_->shared_from_this());
    host_words_ = host.allocate(layout_.host_words.bytes, layout_.host_words.reserved_bytes);
  }
  view_ = std::make_unique<heap::HeapView>(plan_, layout_, stage_, slots());
  rings_ = std::make_unique<heap::SlotRings>(plan_, layout_.reader_count(stage_));
  scopes_ = std::make_shared<ScopeContext>(plan_, layout_, slots(), layout_.reader_count(stage_));
  scopes_->session = this;
}

void SessionState::map_peers(host::Domain::TimePoint deadline) {
  nodes_ = nodes_of_ranks(deadline);
  ExecutorParts parts{*arena_, host_words_.get(), plan_,  layout_,    slots(),
                      *rings_, scopes_->pools,    nodes_, generation_};
  parts.first_sequence = first_sequence_;
  parts.crowded = crowded_;
  auto executor = memory_->make_executor(parts);
  arena_->map_peers(deadline);
  if (host_words_) host_words_->map_peers(deadline);
  executor->attach();
  executor_ = std::move(executor);
  memory_->start(*arena_);
  domain_->add_history(*this);
}

void SessionState::connect_nccl(host::Domain::TimePoint deadline) {
  memory_->connect_nccl(plan_, layout_, *arena_, deadline);
}

void SessionState::refuse_without_nccl() const {
  const std::string refusal = memory_->nccl_refusal();
  if (refusal.empty()) return;
  throw Error(ErrorCode::unsupported,
              "the plan asks for NCCL (" + std::string(to_string(plan_.options().nccl)) +
                  "), which cannot be used: " + refusal,
              std::nullopt, "commit");
}

std::string SessionState::last_calls_of(WorldRank rank) const {
  if (host_words_) return cuda::last_calls_of(rank, groups_, layout_.channels, *host_words_);
  return host::last_calls_of(rank, domain_->rank(), groups_, layout_, *arena_);
}

// Each rank as it is placed now: a rank that moves later only reads in a less fortunate order.
std::vector<std::uint32_t> SessionState::nodes_of_ranks(host::Domain::TimePoint deadline) const {
  const std::uint32_t mine = host::memory_node_of_thread();
  std::vector<std::uint32_t> nodes;
  for (const auto& bytes :
       domain_->all_gather(std::as_bytes(std::span(&mine, 1)), "commit", deadline)) {
    std::uint32_t node = host::kAnyNode;
    if (bytes.size() == sizeof(node)) std::memcpy(&node, bytes.data(), sizeof(node));
    nodes.push_back(node);
  }
  return nodes;
}

void SessionState::seal() noexcept {
  registrations_at_commit_ = registrations();
  sealed_ = true;
}

std::uint64_t SessionState::registrations() const noexcept {
  return arena_->registrations() + (private_slots_ ? private_slots_->registrations() : 0) +
         (host_words_ ? host_words_->registrations() : 0);
}

std::uint64_t SessionState::registrations_since_commit() const noexcept {
  return registrations() - registrations_at_commit_;
}

void SessionState::check_open() const {
  if (!closed_) return;
  throw Error(ErrorCode::usage, "the session is closed", std::nullopt, "close");
}

Group SessionState::group(GroupKind kind) {
  if ((plan_.group_mask(stage_) & (1U << static_cast<unsigned>(kind))) == 0) {
    throw Error(ErrorCode::usage, "group " + std::string(to_string(kind)) +
                                      " is named by no slot that this rank holds and by no pool, "
                                      "so no memory was planned for it");
  }
  Group group;
  group.state_ = this;
  group.kind_ = kind;
  group.ranks_ = groups_.group_of(kind, domain_->rank());
  if (group.ranks_.empty()) {
    throw Error(ErrorCode::usage, "rank " + std::to_string(domain_->rank().index()) +
                                      " is in no group of kind " + std::string(to_string(kind)));
  }
  const auto self = std::find(group.ranks_.begin(), group.ranks_.end(), domain_->rank());
  group.rank_ = GroupRank{static_cast<std::uint32_t>(self - group.ranks_.begin())};
  return group;
}

Buffer SessionState::entry(heap::EntryId id) const {
  const PlannedSlot& slot = plan_.slots()[id.slot];
  Buffer buffer;
  buffer.data_ = view_->address_of(id);
  buffer.rows_max_ = slot.spec.rows_max;
  buffer.row_elements_ = slot.spec.row_elements;
  buffer.slot_ = SlotId{id.slot};
  buffer.entry_ = id.entry;
  buffer.dtype_ = slot.spec.dtype;
  return buffer;
}

void SessionState::check_held(const PlannedSlot& slot) const {
  if (slot.exists_in(stage_)) return;
  throw Error(ErrorCode::usage, "slot '" + slot.name + "' is of pipeline stage " +
                                    std::to_string(*slot.spec.stage) + ", and rank " +
                                    std::to_string(domain_->rank().index()) + " is of stage " +
                                    std::to_string(stage_));
}

void SessionState::check_slot(SlotId slot) const {
  check_open();
  if (slot.index() >= plan_.slots().size()) {
    throw Error(ErrorCode::usage, "slot " + std::to_string(slot.index()) + " of a plan with " +
                                      std::to_string(plan_.slots().size()) + " slots");
  }
  check_held(plan_.slots()[slot.index()]);
}

Buffer SessionState::take(SlotId slot) {
  check_slot(slot);
  const heap::EntryId id = rings_->next(slot);
  executor_->settle(id);
  return entry(id);
}

PathChoice SessionState::explain(GroupKind kind, Op op, DType dtype, std::size_t bytes) const {
  const PathChoice chosen = collectives::choose_path(
      path_table(), {plan_.layout().group_size(kind), plan_.options().symmetry, op, bytes, dtype,
                     Reason::ok, crowded_, plan_.options().memory});
  return executor_->settled(kind, op, dtype, bytes, chosen);
}

Verdict SessionState::run(GroupKind kind, const collectives::Call& call) {
  check_open();
  return or_out_of_memory(*domain_, to_string(call.op), [&] { return executor_->run(kind, call); });
}

void SessionState::move(std::span<const LocalMove> moves, Stream stream) {
  check_open();
  executor_->move(moves, stream.handle);
}

void SessionState::rms_norm(ConstTensor input, const RmsNorm& norm, Stream stream) {
  check_open();
  executor_->norm(input, norm, stream.handle);
}

void SessionState::wait(Stream stream) {
  check_open();
  executor_->wait(stream.handle);
}

std::size_t SessionState::measured_bytes() const {
  return arena_->measured_bytes() + (private_slots_ ? private_slots_->measured_bytes() : 0) +
         (host_words_ ? host_words_->measured_bytes() : 0) + domain_->control_bytes();
}

std::vector<LedgerRow> SessionState::ledger() const {
  std::vector<LedgerRow> rows;
  executor_->append_ledger(rows);
  return rows;
}

void SessionState::close(std::chrono::milliseconds limit) {
  if (closed_) return;
  std::string lost;
  if (!domain_->poisoned()) {
    or_out_of_memory(*domain_, "close", [&] {
      const auto deadline = domain_->deadline_after(limit);
      static_cast<void>(executor_->quiesce(deadline));
      test_point("close.meet");
      domain_->all_gather({}, "close", deadline);
      memory_->close_nccl(deadline);
      lost = lost_messages(deadline);
      test_point("close.leave");
    });
  }
  closed_ = true;
  if (lost.empty()) return;
  throw Error(ErrorCode::usage,
              lost +
                  "; the session is closed, so what was not received is lost: close after the "
                  "last recv",
              std::nullopt, "close");
}

/// The same text on all ranks: each knows of the messages that it sent. Collective.
std::string SessionState::lost_messages(host::Domain::TimePoint deadline) {
  std::string all;
  if (plan_.send_recvs().empty()) return all;
  std::string mine;
  for (const std::string& text : executor_->lost_messages()) {
    mine += (mine.empty() ? "" : "; ") + text;
  }
  test_point("close.report");
  for (const auto& bytes : domain_->all_gather(std::as_bytes(std::span(mine)), "close", deadline)) {
    if (bytes.empty()) continue;
    if (!all.empty()) all += "; ";
    all.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  return all;
}

}  // namespace cohort
