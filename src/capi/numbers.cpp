#include "capi/numbers.hpp"

#include <array>
#include <optional>
#include <string>
#include <type_traits>

#include <cohort/cohort_names.h>
#include <cohort/version.hpp>

namespace cohort::capi {
namespace {

template <typename Enum>
struct Pair {
  std::uint32_t number;
  Enum value;
};

constexpr std::array kErrorCodes =
    std::to_array<Pair<ErrorCode>>({{COHORT_ERROR_USAGE, ErrorCode::usage},
                                    {COHORT_ERROR_CORRUPT, ErrorCode::corrupt},
                                    {COHORT_ERROR_UNSUPPORTED, ErrorCode::unsupported},
                                    {COHORT_ERROR_MISMATCH, ErrorCode::mismatch},
                                    {COHORT_ERROR_OUT_OF_MEMORY, ErrorCode::out_of_memory},
                                    {COHORT_ERROR_TIMEOUT, ErrorCode::timeout},
                                    {COHORT_ERROR_PEER_FAILED, ErrorCode::peer_failed},
                                    {COHORT_ERROR_STRICT_MISS, ErrorCode::strict_miss},
                                    {COHORT_ERROR_SYSTEM, ErrorCode::system},
                                    {COHORT_ERROR_CUDA, ErrorCode::cuda},
                                    {COHORT_ERROR_NCCL, ErrorCode::nccl}});

constexpr std::array kGroupKinds =
    std::to_array<Pair<GroupKind>>({{COHORT_GROUP_WORLD, GroupKind::world},
                                    {COHORT_GROUP_TP, GroupKind::tp},
                                    {COHORT_GROUP_PP, GroupKind::pp},
                                    {COHORT_GROUP_ATTN_TP, GroupKind::attn_tp},
                                    {COHORT_GROUP_ATTN_CP, GroupKind::attn_cp},
                                    {COHORT_GROUP_ATTN, GroupKind::attn},
                                    {COHORT_GROUP_MOE_EP, GroupKind::moe_ep},
                                    {COHORT_GROUP_MOE_TP, GroupKind::moe_tp},
                                    {COHORT_GROUP_MOE_DP, GroupKind::moe_dp},
                                    {COHORT_GROUP_DCP, GroupKind::dcp},
                                    {COHORT_GROUP_HOST, GroupKind::host},
                                    {COHORT_GROUP_LEADERS, GroupKind::leaders}});

constexpr std::array kDTypes = std::to_array<Pair<DType>>({{COHORT_DTYPE_F32, DType::f32},
                                                           {COHORT_DTYPE_BF16, DType::bf16},
                                                           {COHORT_DTYPE_I32, DType::i32},
                                                           {COHORT_DTYPE_I64, DType::i64},
                                                           {COHORT_DTYPE_F16, DType::f16},
                                                           {COHORT_DTYPE_U8, DType::u8},
                                                           {COHORT_DTYPE_F8E4M3, DType::f8e4m3}});

constexpr std::array kReduceOps =
    std::to_array<Pair<ReduceOp>>({{COHORT_REDUCE_SUM, ReduceOp::sum},
                                   {COHORT_REDUCE_MIN, ReduceOp::min},
                                   {COHORT_REDUCE_MAX, ReduceOp::max}});

constexpr std::array kOps =
    std::to_array<Pair<Op>>({{COHORT_OP_ALL_REDUCE, Op::all_reduce},
                             {COHORT_OP_ALL_GATHER, Op::all_gather},
                             {COHORT_OP_ALL_GATHERV, Op::all_gatherv},
                             {COHORT_OP_REDUCE_SCATTER, Op::reduce_scatter},
                             {COHORT_OP_REDUCE_SCATTERV, Op::reduce_scatterv},
                             {COHORT_OP_BROADCAST, Op::broadcast},
                             {COHORT_OP_BARRIER, Op::barrier},
                             {COHORT_OP_ALL_TO_ALL, Op::all_to_all},
                             {COHORT_OP_ALL_TO_ALLV, Op::all_to_allv},
                             {COHORT_OP_SEND, Op::send},
                             {COHORT_OP_RECV, Op::recv}});

constexpr std::array kPaths =
    std::to_array<Pair<Path>>({{COHORT_PATH_LOCAL, Path::local},
                               {COHORT_PATH_HOST_INLINE, Path::host_inline},
                               {COHORT_PATH_HOST_DIRECT, Path::host_direct},
                               {COHORT_PATH_HOST_STAGED, Path::host_staged},
                               {COHORT_PATH_GPU_LL, Path::gpu_ll},
                               {COHORT_PATH_GPU_LAMPORT, Path::gpu_lamport},
                               {COHORT_PATH_GPU_TWO_SHOT, Path::gpu_two_shot},
                               {COHORT_PATH_NCCL_SYMMETRIC, Path::nccl_symmetric},
                               {COHORT_PATH_NCCL_PLAIN, Path::nccl_plain}});

constexpr std::array kReasons =
    std::to_array<Pair<Reason>>({{COHORT_REASON_OK, Reason::ok},
                                 {COHORT_REASON_GROUP_SIZE_ONE, Reason::group_size_one},
                                 {COHORT_REASON_DISABLED, Reason::disabled},
                                 {COHORT_REASON_OPERAND_NOT_IN_HEAP, Reason::operand_not_in_heap},
                                 {COHORT_REASON_DTYPE_UNSUPPORTED, Reason::dtype_unsupported},
                                 {COHORT_REASON_OVER_BUDGET, Reason::over_budget},
                                 {COHORT_REASON_OVER_INLINE_LIMIT, Reason::over_inline_limit},
                                 {COHORT_REASON_OP_UNSUPPORTED, Reason::op_unsupported},
                                 {COHORT_REASON_NCCL_VERSION_REFUSED, Reason::nccl_version_refused},
                                 {COHORT_REASON_OPERAND_MISALIGNED, Reason::operand_misaligned}});

constexpr std::array kNcclUses =
    std::to_array<Pair<NcclUse>>({{COHORT_NCCL_OFF, NcclUse::off},
                                  {COHORT_NCCL_GATHERS, NcclUse::gathers},
                                  {COHORT_NCCL_REDUCTIONS, NcclUse::reductions}});

template <typename Table, typename Enum>
std::uint32_t find_number(const Table& table, Enum value) noexcept {
  for (const auto& pair : table) {
    if (pair.value == value) return pair.number;
  }
  return kNoNumber;
}

template <typename Enum, std::size_t N>
std::optional<Enum> find_value(const std::array<Pair<Enum>, N>& table,
                               std::uint32_t number) noexcept {
  for (const auto& pair : table) {
    if (pair.number == number) return pair.value;
  }
  return std::nullopt;
}

template <typename Enum, std::size_t N>
Enum value_of(const std::array<Pair<Enum>, N>& table, std::uint32_t number, const char* what) {
  if (const auto value = find_value(table, number)) return *value;
  throw Error(ErrorCode::usage, std::to_string(number) + " is no " + what);
}

/// Names are literals, so the view's end is the string's.
template <typename Enum, std::size_t N>
const char* name_of(const std::array<Pair<Enum>, N>& table, std::uint32_t number) noexcept {
  const auto value = find_value(table, number);
  return value ? to_string(*value).data() : "unknown";
}

}  // namespace

int number_of(ErrorCode code) noexcept {
  const std::uint32_t number = find_number(kErrorCodes, code);
  return number == kNoNumber ? COHORT_ERROR_SYSTEM : static_cast<int>(number);
}
std::uint32_t number_of(GroupKind kind) noexcept {
  return find_number(kGroupKinds, kind);
}
std::uint32_t number_of(DType dtype) noexcept {
  return find_number(kDTypes, dtype);
}
std::uint32_t number_of(ReduceOp op) noexcept {
  return find_number(kReduceOps, op);
}
std::uint32_t number_of(Op op) noexcept {
  return find_number(kOps, op);
}
std::uint32_t number_of(Path path) noexcept {
  return find_number(kPaths, path);
}
std::uint32_t number_of(Reason reason) noexcept {
  return find_number(kReasons, reason);
}

ErrorCode error_code_of(int code) {
  return value_of(kErrorCodes, static_cast<std::uint32_t>(code), "error code");
}
GroupKind group_kind_of(std::uint32_t kind) {
  return value_of(kGroupKinds, kind, "group kind");
}
DType dtype_of(std::uint32_t dtype) {
  return value_of(kDTypes, dtype, "dtype");
}
ReduceOp reduce_op_of(std::uint32_t op) {
  return value_of(kReduceOps, op, "reduction");
}
Op op_of(std::uint32_t op) {
  return value_of(kOps, op, "operation");
}
NcclUse nccl_use_of(std::uint32_t use) {
  return value_of(kNcclUses, use, "use of NCCL");
}

}  // namespace cohort::capi

using namespace cohort;
using namespace cohort::capi;

extern "C" {

const char* cohort_error_name(int code) {
  return code == COHORT_OK ? "ok" : name_of(kErrorCodes, static_cast<std::uint32_t>(code));
}
const char* cohort_group_name(uint32_t kind) {
  return name_of(kGroupKinds, kind);
}
const char* cohort_dtype_name(uint32_t dtype) {
  return name_of(kDTypes, dtype);
}
const char* cohort_op_name(uint32_t op) {
  return name_of(kOps, op);
}
const char* cohort_path_name(uint32_t path) {
  return name_of(kPaths, path);
}
const char* cohort_reason_name(uint32_t reason) {
  return name_of(kReasons, reason);
}
const char* cohort_reason_text(uint32_t reason) {
  const auto value = find_value(kReasons, reason);
  return value ? explain(*value).data() : "unknown";
}

const char* cohort_version(void) {
  return COHORT_VERSION;
}
uint32_t cohort_abi_version(void) {
  return COHORT_ABI_VERSION;
}

}  // extern "C"
