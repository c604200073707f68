#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include <cohort/dtype.hpp>
#include <cohort/export.hpp>
#include <cohort/ids.hpp>
#include <cohort/layer.hpp>
#include <cohort/plan.hpp>
#include <cohort/rms_norm.hpp>
#include <cohort/session.hpp>
#include <cohort/stream.hpp>
#include <cohort/tensor.hpp>

namespace cohort {

/// A pool that the boundaries of the layers share, instead of slots of their own. Each boundary's
/// rows are one block of the largest size that was planned for it, and end the block of the
/// boundary before: so a pool that is too small shows in the first step, whatever its rows.
struct LayerPool {
  /// The budget; by default what the largest block takes.
  std::optional<std::size_t> bytes = std::nullopt;
};

/// Widths and maxima of a model's layers; equal on all ranks.
struct LayerSpec {
  DType dtype = DType::f32;
  std::size_t hidden_elements = 0;     ///< of one hidden-states row
  std::size_t kv_elements = 0;         ///< of one row [keys | values] of a rank's KV heads
  std::size_t attention_rows_max = 0;  ///< of one step that one rank computes attention for
  std::size_t replica_rows_max = 0;    ///< of one step of one replica
  std::size_t batch_rows_max = 0;      ///< of one step of all replicas
  std::size_t last_rows_max = 0;       ///< of all replicas that a next token is wanted for
  std::uint32_t depth = 2;             ///< entries of each slot
  /// For the boundaries whose rows one group moves first.
  std::optional<LayerPool> pool = std::nullopt;
};

/// The slots of a layer's boundaries, in the order kv, attention output, MLP input, MLP output,
/// last rows; on host memory none where the layout moves nothing. `sum` receives what is scattered
/// before it is gathered. With a pool, `blocks` names the group that a boundary's rows are
/// allocated for.
struct LayerSlots {
  /// Of one boundary: where its rows and its sum lie.
  struct Boundary {
    std::optional<SlotId> rows;
    std::optional<SlotId> sum;
    std::optional<GroupKind> blocks;
  };
  LayerSpec spec;
  std::optional<PoolId> pool;
  std::array<Boundary, 5> boundaries;
};

/// Declares the slots, and the pool "activations" if the spec asks for one, that layers of this
/// layout and these sizes need. SPMD, local.
/// Throws: Error{usage} for a size that is 0 or too large, or slots declared twice.
COHORT_EXPORT LayerSlots plan_layers(Plan& plan, const LayerSpec& spec);

/// Moves hidden states between the parts of a dense decoder layer, for every mix of attention data,
/// context and tensor parallelism with a tensor-parallel MLP; the layer itself computes on plain
/// rows.
///
/// Each pair of functions is one boundary: the first says where this rank writes its rows, the
/// second completes them and says where to read; both point into planned slots or blocks. Operands
/// are moved where they lie. What is read stays valid until the next boundary is begun. *Attention
/// rows* are those of `BatchRows::attention`; *batch rows* are all. Move-only; the session must
/// outlive it and not be moved. SPMD: ranks use the boundaries in one order, with 0 rows too.
///
/// On CUDA memory all rows lie in planned memory of the device, and every boundary is put into the
/// stream of `on` and returns at once: whoever writes and reads rows does so in that stream, or
/// orders his own behind it. Nothing waits for the device, so a step can be captured into a graph;
/// its rows are those of `begin_step` when it was captured.
class COHORT_EXPORT LayerCommunicator {
 public:
  /// Local. Throws: Error{usage} if `slots` are not of the session's plan.
  LayerCommunicator(Session& session, const LayerSlots& slots, WorldRank rank);
  LayerCommunicator(LayerCommunicator&&) noexcept;
  LayerCommunicator& operator=(LayerCommunicator&&) noexcept;
  ~LayerCommunicator();

  /// Boundaries go into `stream` from here on; until then into the legacy default stream. Local.
  /// Throws: Error{usage} on host memory.
  void on(Stream stream);

  /// Says which rows the next layers have; `last_rows` are those of them that a next token is
  /// wanted for. Local; equal on all ranks. Throws: Error{usage} for rows past the maxima or of
  /// another layout, and for last rows counted otherwise (by replica, by chunk) than the rows.
  void begin_step(const BatchRows& rows, const BatchRows& last_rows);

  /// New [keys | values] of the attention rows -> those of all rows that this rank caches: the
  /// replica's, chunk after chunk (`ContextParallel::gathered_runs`), or the attention rows
  /// themselves. Collective over attn_cp of rows by chunk, else local.
  Tensor kv_rows();
  ConstTensor gather_kv_rows();

  /// Attention output of this rank's heads -> the sum over all heads; attention rows.
  /// Collective over attn_tp.
  Tensor attention_output();
  ConstTensor complete_attention_output();
  /// The same, with residual and norm behind it: the attention rows are added to `norm.residual`
  /// and come out normed in `norm.normed`, e.g. the rows of `mlp_input`, unless the slots share a
  /// pool. The bits of the two one after the other; on CUDA memory one kernel where there is one.
  void complete_attention_output(const RmsNorm& norm);

  /// Attention rows -> batch rows. Collective over tp.
  Tensor mlp_input();
  ConstTensor gather_mlp_input();

  /// Batch rows, this rank's addend -> the sum; attention rows. Collective over tp, then within the
  /// replica.
  Tensor mlp_output();
  ConstTensor complete_mlp_output();
  /// The same, with the residual and the norm of what comes next behind it; as above.
  void complete_mlp_output(const RmsNorm& norm);

  /// The last rows among the attention rows -> those of the batch. Collective over tp.
  Tensor last_rows();
  ConstTensor gather_last_rows();

 private:
  class State;
  std::unique_ptr<State> state_;
};

}  // namespace cohort
