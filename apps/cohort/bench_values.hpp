#pragma once

// Operands whose every element every rank can work out, and what a result must then be: computed in
// double and 64-bit integers, by none of the code that is measured. Standard library only.

#include <cstddef>
#include <cstdint>
#include <string>

#include "bench_job.hpp"

namespace cohort::bench {

/// Fills the operand of rank `rank`: floats in [-1, 1), integers in [-1000, 1000).
void fill_operand(const Job& job, std::uint32_t rank, void* data, std::size_t bytes);

/// Fills a result with what no right result holds.
void poison(void* data, std::size_t bytes);

/// What is wrong with rank `rank`'s result, "" if nothing: the first element that differs. Sums of
/// floats may differ from the exact sum by one rounding for each addition.
std::string check_result(const Job& job, std::uint32_t rank, std::uint32_t ranks,
                         const void* result);

}  // namespace cohort::bench
