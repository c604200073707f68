#pragma once

// Norms of rows on host memory, and what makes sense of one on any: also what kernels are held to.

#include <cstddef>
#include <optional>
#include <string>

#include <cohort/rms_norm.hpp>

namespace cohort::collectives {

/// What is wrong with the norm of `input_elements` elements of `dtype`, or nothing. Pure.
std::optional<std::string> find_fault(const RmsNorm& norm, std::size_t input_elements, DType dtype);

/// Throws: Error{usage} if `find_fault` finds something.
void require_norm(const RmsNorm& norm, ConstTensor input);

/// The same bits as the kernels'. Requires: `find_fault` finds nothing.
void norm_on_host(const RmsNorm& norm, const void* input);

}  // namespace cohort::collectives
