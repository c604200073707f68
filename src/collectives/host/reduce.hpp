#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include <cohort/dtype.hpp>
#include <cohort/verdict.hpp>

namespace cohort::host {

/// Round to nearest and keep denormals for as long as this lives: a caller (or a library that it
/// loaded) may have switched denormals off, and ranks that differ in it would differ in results.
/// Making one takes some 20 ns: do it while there is something to wait for.
class FloatMode {
 public:
  FloatMode() noexcept;
  ~FloatMode();
  FloatMode(const FloatMode&) = delete;
  FloatMode& operator=(const FloatMode&) = delete;

 private:
  unsigned saved_ = 0;
};

/// Writes out[i] = inputs[0][i] op inputs[1][i] op ..., combined in this order. Local.
/// The bits depend on the inputs alone: not on the instruction set, the count, the position of an
/// element, alignment or the caller's floating-point mode. Sums of f32, bf16 and f16 run in f32 and
/// are rounded once, ties to even; denormals are kept; NaN results are canonical, also from one
/// input; min and max propagate NaN and order -0 before +0; integers wrap.
/// Requires: a reducible type and at least one input; `out` is one of the inputs or overlaps none.
/// Any alignment.
/// Cost: reads each input once and writes `out` once.
void reduce(std::span<const std::byte* const> inputs, std::byte* out, std::size_t elements,
            DType dtype, ReduceOp op) noexcept;

/// The same within the life of a FloatMode of this thread.
void reduce_in_mode(std::span<const std::byte* const> inputs, std::byte* out, std::size_t elements,
                    DType dtype, ReduceOp op) noexcept;

/// The instruction set that `reduce` uses on this machine, e.g. "AVX3". Local.
std::string_view reduce_instruction_set() noexcept;

}  // namespace cohort::host
