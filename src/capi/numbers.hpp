#pragma once

// The numbers of the C interface and the enumerators they stand for. Tables, and not casts: the
// enumerations may be put in another order, the numbers may not.

#include <cstdint>

#include <cohort/dtype.hpp>
#include <cohort/error.hpp>
#include <cohort/layout.hpp>
#include <cohort/plan.hpp>
#include <cohort/verdict.hpp>

namespace cohort::capi {

int number_of(ErrorCode code) noexcept;
std::uint32_t number_of(GroupKind kind) noexcept;
std::uint32_t number_of(DType dtype) noexcept;
std::uint32_t number_of(ReduceOp op) noexcept;
std::uint32_t number_of(Op op) noexcept;
std::uint32_t number_of(Path path) noexcept;
std::uint32_t number_of(Reason reason) noexcept;

// The inverses. Throw: Error{usage} naming the number.
ErrorCode error_code_of(int code);
GroupKind group_kind_of(std::uint32_t kind);
DType dtype_of(std::uint32_t dtype);
ReduceOp reduce_op_of(std::uint32_t op);
Op op_of(std::uint32_t op);
NcclUse nccl_use_of(std::uint32_t use);

/// What `number_of` says for an enumerator that has no number yet.
inline constexpr std::uint32_t kNoNumber = ~std::uint32_t{0};

}  // namespace cohort::capi
