#pragma once

// Test data and expected results that every rank can compute for every other rank.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <cohort/dtype.hpp>
#include <cohort/ids.hpp>
#include <cohort/verdict.hpp>

namespace cohort::contract {

/// Element `index` of `rank`'s operand in a call, as bits of `dtype`; reals with many mantissa
/// bits, so that order and rounding show.
std::uint64_t element_bits(std::uint64_t call_seed, WorldRank rank, std::size_t index, DType dtype);

/// Writes `count` elements from `first` on.
void fill(void* data, std::uint64_t call_seed, WorldRank rank, std::size_t first, std::size_t count,
          DType dtype);

/// The element that reducing over `ranks` in this order must give, bit for bit.
std::uint64_t reduced_bits(std::uint64_t call_seed, std::span<const WorldRank> ranks,
                           std::size_t index, DType dtype, ReduceOp op);

/// Bits of element `index` in memory.
std::uint64_t bits_at(const void* data, std::size_t index, DType dtype);

/// Throws std::runtime_error unless the reduced element is within rounding of the float64 result.
void check_against_float64(std::uint64_t bits, std::uint64_t call_seed,
                           std::span<const WorldRank> ranks, std::size_t index, DType dtype,
                           ReduceOp op, const std::string& what);

}  // namespace cohort::contract
