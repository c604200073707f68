#pragma once

// Executes one move, step after step, on rows that lie in planned slots.
//
// Rows keep their order through a move, so each buffer holds one range of the batch and each step
// works in place: a slice is an offset, a gather fills in the rows around a rank's own. Only a sum
// that is scattered and then gathered goes on in a second slot: in one, the gather could not begin
// before every rank of the larger group had read its part.
// Thread safety: one thread per rank.

#include <cstddef>
#include <optional>
#include <vector>

#include <cohort/layer_communicator.hpp>

namespace cohort::layer {

/// What the boundaries of a layer share.
struct BoundaryContext {
  Session* session = nullptr;
  std::optional<Scope> scope;  ///< of the block that the boundary begun last has
  Stream stream;               ///< that calls on CUDA memory go into
};

class RowBoundary {
 public:
  /// Rows of `row_elements` elements, at most `rows_max`; they stay in ordinary memory where
  /// neither slot nor blocks are planned. `context` outlives this.
  RowBoundary(BoundaryContext& context, const LayerSlots::Boundary& slots, DType dtype,
              std::size_t row_elements, std::size_t rows_max);

  /// Sets the move for the uses to come. `rows` are of a layout that the move was planned for.
  void set(const Layout& layout, const Move& move, const BatchRows& rows, WorldRank rank);

  /// Where this rank writes its rows; takes the next entries. Throws: as Session::take.
  Tensor input();

  /// Runs the steps on what `input` gave out. Collective over the steps' groups.
  /// Throws: Error{usage} without `input` before it, what the collectives throw.
  ConstTensor complete();
  /// The same, and norms the result: in the last call, if that is a sum.
  void complete(const RmsNorm& norm);

 private:
  /// Rows of the batch from `first` on, as far as the memory goes.
  struct Window {
    Buffer buffer;
    std::size_t first = 0;
  };

  bool is_planned() const noexcept { return slots_.rows || slots_.blocks; }
  Tensor rows_of(const Window& window, RowRange range) const;
  ConstTensor run_steps(const RmsNorm* norm);
  void run(const RankStep& step, const Window& source, const Window& target, const RmsNorm* norm);

  BoundaryContext* context_;
  LayerSlots::Boundary slots_;
  DType dtype_;
  std::size_t row_elements_;
  std::size_t rows_max_;
  std::vector<std::byte> ordinary_;  // the rows of a boundary for which nothing is planned
  std::vector<RankStep> steps_;      // counts in elements
  RowRange from_;
  RowRange to_;
  Window rows_;
  Window sum_;
  std::size_t call_count_ = 0;
  bool taken_ = false;
};

}  // namespace cohort::layer
