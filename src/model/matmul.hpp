#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include <cohort/dtype.hpp>

namespace cohort {

/// Weights of a linear layer, kept in the order in which the product reads them. Immutable; cheap
/// to copy.
struct LinearWeights {
  struct Packed;
  std::shared_ptr<const Packed> packed;
  std::size_t output_width = 0;
  std::size_t input_width = 0;
};

/// Throws: Error{unsupported} naming the flag for a dtype that this CPU cannot multiply. Local.
void require_products(DType dtype);

/// Products of activations and weights: y = x W^T, added up in f32.
///
/// What was compiled for a row count is kept, so a steady step compiles nothing. Which order sums
/// take is the library's choice: no bits are promised, not even across row counts.
/// Thread safety: one thread at a time; each rank has its own.
class Matmul {
 public:
  /// `dtype` of weights and activations: f32 or bf16.
  /// Throws: as `require_products`.
  explicit Matmul(DType dtype);
  Matmul(Matmul&&) noexcept;
  Matmul& operator=(Matmul&&) noexcept;
  ~Matmul();

  /// `weights` is (output_width, input_width), output by output. Local.
  /// Throws: Error{usage} if its size is another.
  LinearWeights pack(std::span<const float> weights, std::size_t output_width,
                     std::size_t input_width);

  /// y (row_count, output_width) = x (row_count, input_width) W^T; both of the dtype. Local.
  void multiply(const LinearWeights& weights, const void* x, std::size_t row_count, void* y);

  /// The same with an f32 result whatever the dtype. Local.
  void multiply_to_f32(const LinearWeights& weights, const void* x, std::size_t row_count,
                       float* y);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace cohort
