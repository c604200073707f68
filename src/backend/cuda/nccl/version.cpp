#include "backend/cuda/nccl/version.hpp"

#include <array>

namespace cohort::cuda::nccl {
namespace {

struct Row {
  Feature feature;
  Version first;  ///< that has it
  Version last;   ///< that has it
  std::string_view name;
  std::string_view reason;  ///< in versions without it
};

constexpr Version kNewest = kNewestKnown;
constexpr Version kNever = version(100, 0, 0);

constexpr std::array<Row, kFeatureCount> kRows{{
    {Feature::plain_calls, kOldestKnown, kNewest, "plain calls",
     "NCCL before 2.28.3 is refused: nobody has read it"},
    {Feature::windows, kOldestKnown, kNewest, "symmetric windows",
     "NCCL before 2.28.3 is refused: nobody has read it"},
    {Feature::one_operand, version(2, 29, 2), kNewest, "one operand in a window is enough",
     "before NCCL 2.29.2 both operands must lie in windows of the communicator"},
    {Feature::several_allocations, version(2, 29, 2), kNewest, "windows over several allocations",
     "before NCCL 2.29.2 a window takes one allocation only"},
    {Feature::null_window, version(2, 29, 2), kNewest, "null windows",
     "before NCCL 2.29.2 a handle does not prove that there is a window"},
    {Feature::repeated_window, kOldestKnown, version(2, 29, 7), "repeated registration",
     "NCCL 2.30 maps an allocation anew for every registration, until addresses run out"},
    {Feature::early_predecessor, version(2, 30, 7), kNewest, "early triggers before it",
     "before NCCL 2.30.7 symmetric kernels do not wait for a kernel before them that triggers its "
     "dependents early"},
    {Feature::capture_windows, version(2, 30, 7), kNewest, "registration during capture",
     "before NCCL 2.30.7 windows cannot be registered while a graph is captured"},
    {Feature::unequal_windows, version(2, 30, 7), kNewest, "windows of unequal size",
     "before NCCL 2.30.7 windows of unequal size hang or shift later offsets"},
    {Feature::offset_check, version(2, 29, 7), kNewest, "check of offsets",
     "NCCL_CHECK_MODE=DEBUG_GLOBAL came with NCCL 2.29.7"},
    {Feature::registered_operands, kNever, kNever, "operands that NCCL registers by itself",
     "a communicator that ends uses freed memory if NCCL registered operands of its own accord: "
     "set "
     "NCCL_LOCAL_REGISTER=0 and NCCL_GRAPH_REGISTER=0 to allow calls on NCCL's plain path"},
}};

constexpr const Row& row_of(Feature feature) noexcept {
  return kRows[static_cast<std::size_t>(feature)];
}

constexpr bool is_in_order() noexcept {
  for (std::size_t i = 0; i < kRows.size(); ++i) {
    if (kRows[i].feature != static_cast<Feature>(i)) return false;
  }
  return true;
}
static_assert(is_in_order());

// Symmetric kernels count in 32 bits of 32 bytes.
constexpr std::uint64_t kSymmetricBytesEnd = std::uint64_t{64} << 30;

constexpr bool is_float(DType dtype) noexcept {
  return dtype == DType::f32 || dtype == DType::bf16 || dtype == DType::f16;
}

}  // namespace

std::string_view refusal_of_call(const PathQuery& query) noexcept {
  switch (query.op) {
    case Op::all_gather:
    case Op::broadcast:
    case Op::all_to_all: return {};
    case Op::all_reduce:
    case Op::reduce_scatter: break;
    default: return "NCCL has no such operation";
  }
  if (!is_reducible(query.dtype)) return "the type is moved, never reduced";
  if (!is_float(query.dtype)) return {};  // any order gives the same bits
  if (query.reduce_op != ReduceOp::sum) {
    return "NCCL's min and max let numbers win over NaN";
  }
  if (!query.reductions_allowed) return "NCCL's order of sums is not ours: they are on opt-in only";
  return {};
}

std::string_view obstacle_of_call(const PathQuery& query) noexcept {
  if (query.op == Op::broadcast || query.op == Op::all_to_all) {
    return "NCCL has no symmetric kernel for the operation";
  }
  if (query.op != Op::all_gather && !is_float(query.dtype)) {
    return "NCCL's symmetric kernels sum floats only";
  }
  if (query.bytes >= kSymmetricBytesEnd) return "64 GiB and more are too much for one kernel";
  return {};
}

bool is_misaligned(const PathQuery& query) noexcept {
  return (!query.whole_parts || !query.aligned) && obstacle_of_call(query).empty();
}

namespace {

/// Why no symmetric kernel takes this call, or nothing.
std::string_view obstacle(Version version, const PathQuery& query) noexcept {
  const Support windows = support_of(version, Feature::windows);
  if (!windows.supported) return windows.reason;
  if (const std::string_view reason = obstacle_of_call(query); !reason.empty()) return reason;
  if (!query.one_host) return "the group spans hosts";
  if (!query.nvlink) return "not all members are linked by NVLink";
  if (query.input_in_window && query.output_in_window) return {};
  const bool one = query.op == Op::all_gather
                       ? query.output_in_window
                       : query.op == Op::reduce_scatter && query.input_in_window;
  if (one && support_of(version, Feature::one_operand).supported) {
    return "with one operand in a window NCCL's tuner decides";
  }
  return query.input_in_window || query.output_in_window
             ? "only one operand lies in a window of the communicator"
             : "no operand lies in a window of the communicator";
}

}  // namespace

std::string to_string(Version version) {
  return std::to_string(version.code / 10'000) + "." + std::to_string(version.code / 100 % 100) +
         "." + std::to_string(version.code % 100);
}

std::string_view to_string(Feature feature) noexcept {
  return row_of(feature).name;
}

Support support_of(Version version, Feature feature) noexcept {
  const Row& row = row_of(feature);
  if (version < row.first) return {false, row.reason};
  if (version > kNewestKnown && feature != Feature::plain_calls) {
    return {false, "this NCCL is newer than 2.30.7, the last one whose source was read"};
  }
  if (version > row.last && version <= kNewestKnown) return {false, row.reason};
  return {true, {}};
}

PathAnswer path_of(Version version, const PathQuery& query) noexcept {
  if (query.members < 2) return {CallPath::refused, "a group of one exchanges nothing"};
  const Support plain = support_of(version, Feature::plain_calls);
  if (!plain.supported) return {CallPath::refused, plain.reason};
  if (const std::string_view reason = refusal_of_call(query); !reason.empty()) {
    return {CallPath::refused, reason};
  }
  if (is_misaligned(query) && (query.input_in_window || query.output_in_window)) {
    return {CallPath::refused,
            "NCCL's symmetric kernels give wrong results for operands or parts of no multiple of 4 "
            "bytes, and it takes them for operands in windows"};
  }
  const std::string_view reason = obstacle(version, query);
  if (reason.empty()) return {CallPath::symmetric, {}};
  const Support registered = support_of(version, Feature::registered_operands);
  if (query.registers_operands && !registered.supported) {
    return {CallPath::refused, registered.reason};
  }
  return {CallPath::plain, reason};
}

MeasuredBytes measured_bytes() noexcept {
  return {version(2, 28, 9), 939'000'000, 245'366'784};
}

}  // namespace cohort::cuda::nccl
