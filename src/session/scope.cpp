#include <new>
#include <string>
#include <utility>

#include <cohort/error.hpp>
#include <cohort/session.hpp>

#include "collectives/host/host_executor.hpp"
#include "session/session_state.hpp"

namespace cohort {
namespace {

constexpr const char* kPhase = "scope";

[[noreturn]] void refuse(const std::string& why) {
  throw Error(ErrorCode::usage, why, std::nullopt, kPhase);
}

/// The bytes of a block; SIZE_MAX, which no pool holds, where they cannot be counted.
std::size_t block_bytes(DType dtype, std::size_t rows, std::size_t row_elements) {
  std::size_t bytes = 0;
  if (__builtin_mul_overflow(rows, row_elements, &bytes) ||
      __builtin_mul_overflow(bytes, bytes_of(dtype), &bytes)) {
    refuse("a block of " + std::to_string(rows) + " x " + std::to_string(row_elements) +
           " elements is too large");
  }
  return bytes;
}

}  // namespace

Scope::Scope(std::shared_ptr<ScopeContext> context, GroupKind group, Symmetry symmetry)
    : context_(std::move(context)),
      number_(context_->pools.open_scope()),
      group_(group),
      symmetry_(symmetry) {}

Scope::Scope(Scope&& other) noexcept = default;

Scope& Scope::operator=(Scope&& other) noexcept {
  if (this == &other) return *this;
  end();
  context_ = std::move(other.context_);
  number_ = other.number_;
  group_ = other.group_;
  symmetry_ = other.symmetry_;
  return *this;
}

Scope::~Scope() {
  end();
}

void Scope::end() noexcept {
  if (!context_) return;
  context_->pools.close_scope(number_);
  context_.reset();
}

Buffer Scope::allocate(DType dtype, std::size_t rows, std::size_t row_elements) {
  if (!context_) refuse("the scope was moved from");
  if (context_->session == nullptr) refuse("the scope's session is gone");
  const std::size_t bytes = block_bytes(dtype, rows, row_elements);
  const heap::BlockId id = context_->session->allocate_block(group_, symmetry_, bytes, number_);
  const heap::Pools::Block& block = context_->pools.block(id);
  Buffer buffer;
  buffer.data_ = block.data;
  buffer.rows_max_ = rows;
  buffer.row_elements_ = row_elements;
  buffer.block_pool_ = id.pool;
  buffer.block_piece_ = id.piece;
  buffer.block_serial_ = block.serial;
  buffer.dtype_ = dtype;
  return buffer;
}

void Scope::release(const Buffer& block) {
  if (!context_) refuse("the scope was moved from");
  const heap::BlockId id{block.block_pool_, block.block_piece_};
  if (!context_->pools.holds(number_, id, block.block_serial_)) {
    refuse("what is released is no live block of this scope");
  }
  context_->pools.release(id);
}

// --- what scopes need of the session -------------------------------------------------------------

Scope SessionState::scope(GroupKind group, Symmetry symmetry) {
  check_open();
  const std::string name(to_string(group));
  if (symmetry == Symmetry::off && plan_.options().memory != Memory::host) {
    refuse("a scope without symmetric memory is none on cuda: any memory of the GPU will do there");
  }
  if (symmetry == Symmetry::on && !plan_.pool_of(group)) {
    refuse("no pool of the plan serves group " + name +
           ", so a scope has no memory for it; declare one with Plan::pool");
  }
  if ((plan_.group_mask() & (1U << static_cast<unsigned>(group))) == 0) {
    refuse("group " + name + " is named by no slot or pool of the plan");
  }
  return Scope(scopes_, group, symmetry);
}

heap::BlockId SessionState::allocate_block(GroupKind group, Symmetry symmetry, std::size_t bytes,
                                           heap::Pools::ScopeNumber scope) {
  check_open();
  heap::Pools& pools = scopes_->pools;
  if (symmetry == Symmetry::on) {
    if (const auto block = pools.allocate(group, bytes, scope)) {
      executor_->settle(*block);
      return *block;
    }
    if (plan_.options().strict) throw_over_budget(group, bytes);
  }
  if (plan_.options().memory != Memory::host) throw_no_room(group, bytes);
  try {
    return pools.allocate_ordinary(
        group, bytes, symmetry == Symmetry::on ? Reason::over_budget : Reason::disabled, scope);
  } catch (const std::bad_alloc&) {
    // The other ranks have their blocks and go on: they must hear of it.
    domain_->fail(Error(ErrorCode::out_of_memory,
                        "rank " + std::to_string(domain_->rank().index()) +
                            " has no ordinary memory for a block of " + std::to_string(bytes) +
                            " bytes for group " + std::string(to_string(group)),
                        domain_->rank(), kPhase));
  }
}

// Beside the arena there is no memory that this library may take while kernels are captured.
void SessionState::throw_no_room(GroupKind group, std::size_t bytes) const {
  const PoolId id = plan_.pool_of(group).value();
  const PlannedPool& pool = plan_.pool(id);
  throw Error(ErrorCode::out_of_memory,
              "pool '" + pool.name + "' has no room for a block of " + std::to_string(bytes) +
                  " bytes for group " + std::string(to_string(group)) + ": its budget is " +
                  std::to_string(pool.bytes) + " bytes, " +
                  std::to_string(scopes_->pools.use_of(id).live_bytes) +
                  " of them in use; plan a larger one",
              std::nullopt, kPhase);
}

void SessionState::throw_over_budget(GroupKind group, std::size_t bytes) const {
  const PoolId id = plan_.pool_of(group).value();
  const PlannedPool& pool = plan_.pool(id);
  const PoolUse use = scopes_->pools.use_of(id);
  throw Error(ErrorCode::strict_miss,
              "strict: pool '" + pool.name + "' has no room for the " + std::to_string(bytes) +
                  " bytes that a scope of group " + std::string(to_string(group)) +
                  " wants: its budget is " + std::to_string(pool.bytes) + " bytes, " +
                  std::to_string(use.live_bytes) + " of them in use, its largest block " +
                  std::to_string(pool.block_bytes_max(group)) + ": " +
                  std::string(cohort::explain(Reason::over_budget)),
              std::nullopt, kPhase);
}

bool SessionState::is_symmetric(const void* data, std::size_t bytes,
                                GroupKind group) const noexcept {
  if (closed_ || !layout_.slots_in_arena) return false;
  if (const auto operand = view_->locate(data, bytes)) {
    const PlannedSlot& slot = plan_.slots()[operand->entry.slot];
    return !operand->runs_past_end && heap::is_planned_for(slot, group);
  }
  const auto block = scopes_->pools.locate(data, bytes);
  return block && block->is_live && !block->is_ordinary && !block->runs_past_end &&
         block->group == group;
}

PoolUse SessionState::pool_use(PoolId pool) const {
  if (pool.index() >= plan_.pools().size()) {
    refuse("pool " + std::to_string(pool.index()) + " of a plan with " +
           std::to_string(plan_.pools().size()) + " pools");
  }
  return scopes_->pools.use_of(pool);
}

void SessionState::verify(std::chrono::milliseconds limit) {
  check_open();
  constexpr std::string_view kVerify = "verify";
  const auto deadline = domain_->deadline_after(limit);
  const heap::ScopeHistory& history = scopes_->pools.history();
  const heap::ScopeHistory::Summary mine = history.summary();
  const auto summaries = domain_->all_gather(std::as_bytes(std::span(&mine, 1)), kVerify, deadline);
  bool equal = true;
  for (const auto& other : summaries) equal = equal && other == summaries.front();
  if (equal) return;
  const auto histories = domain_->all_gather(history.encode(), kVerify, deadline);
  const auto difference = heap::ScopeHistory::first_difference(histories);
  throw Error(ErrorCode::mismatch, difference.value_or("the ranks' scopes differ"), std::nullopt,
              std::string(kVerify));
}

}  // namespace cohort
