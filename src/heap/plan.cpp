#include <algorithm>
#include <limits>
#include <utility>

#include <cohort/error.hpp>
#include <cohort/plan.hpp>

#include "backend/host/health_words.hpp"
#include "heap/arena_layout.hpp"

namespace cohort {
namespace {

/// Place words carry slot and entry in 16 bits each.
constexpr std::size_t kSlotCountMax = 0xFFFF;
constexpr std::uint32_t kDepthMax = 0xFFFF;
/// Far above any machine; keeps every later sum of offsets free of overflow.
constexpr std::size_t kSlotBytesMax = std::size_t{1} << 46;
constexpr std::uint32_t kLanesMax = 64;
static_assert(kLanesMax <= host::kLanesTold);

/// Place words count a pool's blocks in units in 32 bits, and pools in 24.
constexpr std::size_t kPoolBytesMax = std::size_t{1} << 39;
constexpr std::size_t kPoolCountMax = 0xFFFF;

[[noreturn]] void refuse(const std::string& name, const std::string& why) {
  throw Error(ErrorCode::usage, "slot '" + name + "': " + why, std::nullopt, "plan");
}

[[noreturn]] void refuse_pool(const std::string& name, const std::string& why) {
  throw Error(ErrorCode::usage, "pool '" + name + "': " + why, std::nullopt, "plan");
}

std::size_t entry_bytes(const std::string& name, const SlotSpec& spec) {
  std::size_t bytes = 0;
  if (__builtin_mul_overflow(spec.rows_max, spec.row_elements, &bytes) ||
      __builtin_mul_overflow(bytes, bytes_of(spec.dtype), &bytes) || bytes > kSlotBytesMax) {
    refuse(name, "rows_max " + std::to_string(spec.rows_max) + " x row_elements " +
                     std::to_string(spec.row_elements) + " is too large");
  }
  return heap::align_up(bytes, heap::kAlignmentBytes);
}

void check_spec(const std::string& name, const SlotSpec& spec) {
  if (name.empty()) refuse(name, "a slot needs a name");
  if (spec.groups.empty()) {
    refuse(name, "names no group; say with which groups it may be used");
  }
  if (spec.rows_max == 0) refuse(name, "rows_max is 0");
  if (spec.row_elements == 0) refuse(name, "row_elements is 0");
  if (spec.depth == 0 || spec.depth > kDepthMax) {
    refuse(name, "depth " + std::to_string(spec.depth) + " is not between 1 and " +
                     std::to_string(kDepthMax));
  }
  if (spec.leases > kDepthMax - spec.depth) {
    refuse(name, "depth " + std::to_string(spec.depth) + " and leases " +
                     std::to_string(spec.leases) + " are together more than " +
                     std::to_string(kDepthMax));
  }
}

void check_stage(const std::string& name, const SlotSpec& spec, const Layout& layout) {
  if (!spec.stage) return;
  const std::uint32_t stages = layout.sizes().pp;
  if (*spec.stage >= stages) {
    refuse(name, "stage " + std::to_string(*spec.stage) + " of a layout with " +
                     std::to_string(stages) + " pipeline stages");
  }
  for (const GroupKind kind : spec.groups) {
    if (!layout.crosses_stages(kind)) continue;
    refuse(name, "is of stage " + std::to_string(*spec.stage) + ", but group " +
                     std::string(to_string(kind)) +
                     " has ranks of several stages; leave out the stage, so that all ranks hold "
                     "the slot");
  }
}

std::size_t end_of(const PlannedSlot& slot) {
  return slot.offset + slot.bytes();
}

/// Where a slot goes behind those declared before it: common ones lie at the start, those of each
/// stage behind them.
std::size_t next_offset(std::span<const PlannedSlot> slots, std::optional<std::uint32_t> stage,
                        std::size_t first) {
  std::size_t offset = first;
  for (const PlannedSlot& slot : slots) {
    const bool before = !slot.spec.stage || slot.spec.stage == stage;
    if (before) offset = std::max(offset, end_of(slot));
  }
  return offset;
}

bool is_on_nccl(const PathStep& step) {
  return step.path == Path::nccl_symmetric || step.path == Path::nccl_plain;
}

void check_nccl(const PlanOptions& options) {
  if (options.nccl != NcclUse::off) {
    if (options.memory == Memory::cuda) return;
    throw Error(ErrorCode::usage,
                "the plan asks for NCCL (" + std::string(to_string(options.nccl)) +
                    "), which knows nothing of memory " + std::string(to_string(options.memory)),
                std::nullopt, "plan");
  }
  if (options.memory == Memory::host) return;
  for (const PathRow& row : options.path_table.rows()) {
    const auto step = std::find_if(row.steps.begin(), row.steps.end(), is_on_nccl);
    if (step == row.steps.end()) continue;
    throw Error(ErrorCode::usage,
                "the path table sends " + std::string(to_string(row.op)) + " over " +
                    std::string(to_string(step->path)) +
                    ", but the plan leaves NCCL off; set PlanOptions::nccl, or give another table",
                std::nullopt, "plan");
  }
}

void check_memory(const PlanOptions& options) {
  const std::string memory(to_string(options.memory));
  const auto pin = options.path_table.pin();
  if (pin && memory_of(*pin) != options.memory) {
    throw Error(
        ErrorCode::usage,
        "path " + std::string(to_string(*pin)) + " is pinned, which is none for memory " + memory,
        std::nullopt, "plan");
  }
  check_nccl(options);
  if (options.memory == Memory::host || options.symmetry == Symmetry::on) return;
  throw Error(ErrorCode::usage,
              "symmetric memory cannot be switched off on cuda: calls push through scratch and "
              "read nothing where it lies",
              std::nullopt, "plan");
}

std::uint32_t send_recv_mask(std::span<const PlannedSendRecv> send_recvs) {
  std::uint32_t mask = 0;
  for (const PlannedSendRecv& planned : send_recvs) {
    mask |= 1U << static_cast<unsigned>(planned.kind);
  }
  return mask;
}

}  // namespace

std::string_view to_string(NcclUse use) noexcept {
  switch (use) {
    case NcclUse::off: return "off";
    case NcclUse::gathers: return "gathers";
    case NcclUse::reductions: return "reductions";
  }
  return "unknown";
}

Plan::Plan(Layout layout, const PlanOptions& options)
    : layout_(std::move(layout)), options_(options) {
  if (options_.lanes == 0 || options_.lanes > kLanesMax) {
    throw Error(ErrorCode::usage,
                "lanes " + std::to_string(options_.lanes) + " is not between 1 and " +
                    std::to_string(kLanesMax),
                std::nullopt, "plan");
  }
  check_memory(options_);
}

SlotId Plan::slot(std::string name, const SlotSpec& spec) {
  check_spec(name, spec);
  check_stage(name, spec, layout_);
  const auto same_name = [&](const auto& other) { return other.name == name; };
  if (std::any_of(slots_.begin(), slots_.end(), same_name) ||
      std::any_of(pools_.begin(), pools_.end(), same_name)) {
    refuse(name, "is declared twice");
  }
  if (slots_.size() >= kSlotCountMax) refuse(name, "is one slot too many");

  PlannedSlot planned;
  planned.entry_bytes = entry_bytes(name, spec);
  for (const GroupKind kind : spec.groups) {
    planned.group_mask |= 1U << static_cast<unsigned>(kind);
  }
  planned.name = std::move(name);
  planned.spec = spec;
  planned.offset = next_offset(slots_, spec.stage, heap::first_offset(options_.memory));
  for (PlannedSlot& slot : slots_) {
    if (!spec.stage && slot.spec.stage) slot.offset += planned.bytes();
  }
  slots_.push_back(std::move(planned));
  return SlotId{static_cast<std::uint32_t>(slots_.size() - 1)};
}

void Plan::send_recv(GroupKind kind, const SendRecvSpec& spec) {
  const std::string what = "send_recv of group " + std::string(to_string(kind));
  if (options_.memory != Memory::host) {
    throw Error(ErrorCode::unsupported,
                what + ": there is no send and recv on memory " +
                    std::string(to_string(options_.memory)) + " yet; use all_to_allv",
                std::nullopt, "plan");
  }
  const auto same_kind = [&](const PlannedSendRecv& planned) { return planned.kind == kind; };
  if (std::any_of(send_recvs_.begin(), send_recvs_.end(), same_kind)) {
    throw Error(ErrorCode::usage, what + " is declared twice", std::nullopt, "plan");
  }
  if (spec.staged_bytes_max > kSlotBytesMax) {
    throw Error(
        ErrorCode::usage,
        what + ": staged_bytes_max " + std::to_string(spec.staged_bytes_max) + " is too large",
        std::nullopt, "plan");
  }
  send_recvs_.push_back({kind, spec});
}

PoolId Plan::pool(std::string name, const PoolSpec& spec) {
  if (name.empty()) refuse_pool(name, "a pool needs a name");
  const auto same_name = [&](const auto& other) { return other.name == name; };
  if (std::any_of(pools_.begin(), pools_.end(), same_name) ||
      std::any_of(slots_.begin(), slots_.end(), same_name)) {
    refuse_pool(name, "is declared twice");
  }
  if (pools_.size() >= kPoolCountMax) refuse_pool(name, "is one pool too many");
  if (spec.groups.empty()) refuse_pool(name, "names no group; say for which groups it is");
  if (spec.bytes > kPoolBytesMax) {
    refuse_pool(name, std::to_string(spec.bytes) + " bytes are too many");
  }
  PlannedPool planned;
  planned.spec = spec;
  planned.bytes = heap::align_up(spec.bytes, heap::kAlignmentBytes);
  for (PoolGroup& group : planned.spec.groups) {
    if (const auto other = pool_of(group.kind)) {
      refuse_pool(name, "group " + std::string(to_string(group.kind)) + " is served by pool '" +
                            pools_[other->index()].name + "'; a group has one pool");
    }
    const std::uint32_t bit = 1U << static_cast<unsigned>(group.kind);
    if ((planned.group_mask & bit) != 0) {
      refuse_pool(name, "names group " + std::string(to_string(group.kind)) + " twice");
    }
    planned.group_mask |= bit;
    if (group.block_bytes_max == 0) group.block_bytes_max = spec.block_bytes_max;
    if (group.block_bytes_max == 0) {
      refuse_pool(name, "block_bytes_max is 0; say how large a block may be");
    }
    if (group.block_bytes_max > kPoolBytesMax) {
      refuse_pool(name,
                  "blocks of " + std::to_string(group.block_bytes_max) + " bytes are too large");
    }
    group.block_bytes_max = heap::align_up(group.block_bytes_max, heap::kAlignmentBytes);
  }
  planned.name = std::move(name);
  pools_.push_back(std::move(planned));
  return PoolId{static_cast<std::uint32_t>(pools_.size() - 1)};
}

std::optional<PoolId> Plan::pool_of(GroupKind kind) const noexcept {
  const std::uint32_t bit = 1U << static_cast<unsigned>(kind);
  for (std::size_t i = 0; i < pools_.size(); ++i) {
    if ((pools_[i].group_mask & bit) != 0) return PoolId{static_cast<std::uint32_t>(i)};
  }
  return std::nullopt;
}

std::uint32_t Plan::group_mask() const noexcept {
  std::uint32_t mask = send_recv_mask(send_recvs_);
  for (const PlannedSlot& slot : slots_) mask |= slot.group_mask;
  for (const PlannedPool& pool : pools_) mask |= pool.group_mask;
  return mask;
}

std::uint32_t Plan::group_mask(std::uint32_t stage) const noexcept {
  std::uint32_t mask = send_recv_mask(send_recvs_);
  for (const PlannedSlot& slot : slots_) mask |= slot.exists_in(stage) ? slot.group_mask : 0;
  for (const PlannedPool& pool : pools_) mask |= pool.group_mask;
  return mask;
}

}  // namespace cohort
