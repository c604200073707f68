#include "session/nccl_setup.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include <cohort/dtype.hpp>
#include <cohort/error.hpp>

#include "base/log.hpp"

namespace cohort {
namespace {

using cuda::nccl::Call;

/// Of memory outside the arena, which exists while it is warmed with only. Beyond that NCCL's
/// choice of algorithms does not change.
constexpr std::size_t kOutsideMax = std::size_t{64} << 20U;

constexpr std::array kSums = {DType::f32, DType::bf16, DType::f16, DType::i32, DType::i64};

bool is_float(DType dtype) noexcept {
  return dtype == DType::f32 || dtype == DType::bf16 || dtype == DType::f16;
}

std::vector<cuda::NcclSegment> segments_from(const cuda::CudaArena& arena, std::size_t first) {
  std::vector<cuda::NcclSegment> segments;
  const auto all = arena.segments();
  for (std::size_t i = first; i < all.size(); ++i) {
    segments.push_back({cuda::OpenDevice::host(arena.local()) + all[i].offset, all[i].bytes});
  }
  return segments;
}

std::string text_of(const cuda::NcclPlannedGroup& planned) {
  return std::string(to_string(planned.kind)) + " lane " + std::to_string(planned.lane.index());
}

}  // namespace

NcclSetup::NcclSetup(host::Domain& domain, std::shared_ptr<cuda::OpenDevice> device,
                     const cuda::nccl::Api* api, cuda::StreamHandle stream, const Plan& plan,
                     bool nvlink)
    : domain_(&domain),
      device_(std::move(device)),
      api_(api),
      stream_(stream),
      planned_(cuda::nccl_groups_of(plan)),
      calls_(plan.options().nccl, nvlink, planned_) {}

void NcclSetup::connect(const Plan& plan, const heap::ArenaLayout& layout,
                        const cuda::CudaArena& arena, TimePoint deadline) {
  std::vector<cuda::NcclGroupSpec> specs;
  for (const cuda::NcclPlannedGroup& planned : planned_) {
    specs.push_back({text_of(planned), planned.ranks});
  }
  cuda::NcclOptions options;
  options.device = device_->index();
  options.device_name = device_->name();
  options.deadline = deadline;
  calls_.set(cuda::NcclGroups::establish(*domain_, api_, std::move(specs), segments_from(arena, 0),
                                         options));
  if (!refusal().empty()) return;
  say_what_is_refused();
  for (std::size_t group = 0; group < planned_.size(); ++group) {
    const auto& ranks = planned_[group].ranks;
    if (!calls_.groups()->refusal(group).empty()) continue;
    if (std::ranges::find(ranks, domain_->rank()) == ranks.end()) continue;
    const Operands inside = largest_in_arena(planned_[group].kind, plan, layout, arena);
    if (inside.bytes == 0) continue;
    warm(group, inside, deadline);
    // Not a part of the arena: only there do calls take the ways of memory that is no window.
    const std::size_t granule = device_->granule_bytes();
    const std::size_t bytes = std::min(inside.bytes, kOutsideMax);
    const std::size_t taken = (bytes + granule - 1) / granule * granule;
    const auto memory = cuda::DeviceMemory::create(device_, taken);
    const cuda::DeviceRange range(device_, taken);
    range.map(0, taken, memory, domain_->rank());
    warm(group, {range.base(), bytes, false}, deadline);
    range.unmap(0, taken);
  }
}

std::string NcclSetup::refusal() const {
  const cuda::NcclGroups* const groups = calls_.groups();
  return groups == nullptr ? std::string() : groups->support().refusal;
}

/// Once, by one rank: all know the same. Calls that it concerns tell no more than a reason.
void NcclSetup::say_what_is_refused() const {
  if (domain_->rank() != WorldRank{0}) return;
  const cuda::NcclGroups& groups = *calls_.groups();
  for (std::size_t group = 0; group < planned_.size(); ++group) {
    if (groups.refusal(group).empty()) continue;
    log(LogLevel::warning,
        "NCCL takes no calls on " + text_of(planned_[group]) + ": " + groups.refusal(group));
  }
  if (!groups.support().windows_refusal.empty()) {
    log(LogLevel::warning,
        "NCCL has no symmetric kernels here: " + groups.support().windows_refusal);
  }
  if (groups.support().registers_operands) {
    log(LogLevel::warning,
        "NCCL takes no plain calls: " +
            std::string(cuda::nccl::support_of(groups.support().version,
                                               cuda::nccl::Feature::registered_operands)
                            .reason));
  }
}

NcclSetup::Operands NcclSetup::largest_in_arena(GroupKind kind, const Plan& plan,
                                                const heap::ArenaLayout& layout,
                                                const cuda::CudaArena& arena) const {
  const std::uint32_t stage = plan.layout().pipeline_stage(domain_->rank());
  const cuda::Address base = cuda::OpenDevice::host(arena.local());
  Operands largest{0, 0, true};
  const auto offer = [&](std::size_t offset, std::size_t bytes) {
    if (bytes > largest.bytes) largest = {base + offset, bytes, true};
  };
  for (std::size_t i = 0; i < plan.slots().size(); ++i) {
    const PlannedSlot& slot = plan.slots()[i];
    const bool serves = (slot.group_mask & (1U << static_cast<unsigned>(kind))) != 0;
    if (serves && slot.exists_in(stage)) offer(layout.slots[i].offset, slot.entry_bytes);
  }
  for (std::size_t i = 0; i < plan.pools().size(); ++i) {
    const PlannedPool& pool = plan.pools()[i];
    offer(layout.pool_offsets[i], std::min(pool.bytes, pool.block_bytes_max(kind)));
  }
  return largest;
}

/// Whole operands where input and output are the same; else one half is the input, the other the
/// output.
void NcclSetup::warm(std::size_t group, const Operands& operands, TimePoint deadline) {
  const std::uint64_t members = planned_[group].ranks.size();
  const std::uint64_t half = operands.bytes / 2 / 16 * 16;
  const auto call = [&](Op op, ReduceOp reduce_op, DType dtype, std::uint64_t bytes,
                        bool in_place) {
    Call made{};
    made.op = op;
    made.reduce_op = reduce_op;
    made.dtype = dtype;
    made.count = bytes / bytes_of(dtype);
    made.input = operands.address;
    made.output = operands.address + (in_place ? 0 : half);
    made.stream = stream_;
    warm_call(group, made, operands, deadline);
  };
  call(Op::broadcast, ReduceOp::sum, DType::u8, operands.bytes, true);
  call(Op::all_gather, ReduceOp::sum, DType::u8, half / members, false);
  call(Op::all_to_all, ReduceOp::sum, DType::u8, half / members, false);
  for (const DType dtype : kSums) {
    for (const ReduceOp op : {ReduceOp::sum, ReduceOp::min, ReduceOp::max}) {
      if (is_float(dtype) && op != ReduceOp::sum) continue;
      call(Op::all_reduce, op, dtype, operands.bytes, true);
      call(Op::reduce_scatter, op, dtype, half / members, false);
    }
  }
}

void NcclSetup::warm_call(std::size_t group, Call call, const Operands& operands,
                          TimePoint deadline) {
  if (call.count == 0) return;
  cuda::nccl::PathQuery query;
  query.op = call.op;
  query.reduce_op = call.reduce_op;
  query.dtype = call.dtype;
  query.bytes = operands.bytes;
  query.input_in_window = operands.in_arena;
  query.output_in_window = operands.in_arena;
  const Path wanted = operands.in_arena ? Path::nccl_symmetric : Path::nccl_plain;
  const auto takes = [&](Path path) {
    return calls_.route(group, path, query).reason == Reason::ok;
  };
  if (takes(wanted) || takes(Path::nccl_plain)) calls_.groups()->warm(group, call, deadline);
}

void NcclSetup::extend(const cuda::CudaArena& arena, TimePoint deadline) {
  cuda::NcclGroups* const groups = calls_.groups();
  if (groups == nullptr) return;
  groups->extend(segments_from(arena, groups->segment_count()), deadline, true);
}

void NcclSetup::shrink(const cuda::CudaArena& arena, std::size_t bytes) noexcept {
  cuda::NcclGroups* const groups = calls_.groups();
  if (groups == nullptr) return;
  try {
    std::size_t kept = 0;
    for (const cuda::ArenaSegment& segment : arena.segments()) {
      kept += segment.offset < bytes ? 1 : 0;
    }
    groups->shrink_to(kept);
  } catch (const std::exception& error) {
    log(LogLevel::warning, std::string("NCCL keeps windows of a recommit: ") + error.what());
  }
}

void NcclSetup::close(TimePoint deadline) {
  if (calls_.groups() == nullptr) return;
  calls_.groups()->close(deadline);
  calls_.set(nullptr);
}

}  // namespace cohort
