// A Llama-type decoder as one rank runs it: grouped-query attention over a paged KV cache, gated
// MLP, pre-norm, rotary positions.
//
// The decoder computes on this rank's part of the weights and knows nothing of ranks: what must
// travel between them passes through a LayerCommunicator.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include <cohort/context_parallel.hpp>
#include <cohort/dtype.hpp>
#include <cohort/ids.hpp>
#include <cohort/layer_communicator.hpp>
#include <cohort/layout.hpp>

#include "model/kv_cache.hpp"
#include "model/llama_weights.hpp"
#include "model/token_id.hpp"

namespace cohort {

/// The most that one step of a rank, and its KV cache, may hold.
struct LlamaMaxima {
  std::size_t attention_rows = 0;  // rows of one step that this rank computes attention for
  std::size_t batch_rows = 0;      // rows of one step of all ranks
  std::size_t last_rows = 0;       // rows of one step that a next token is wanted for, all ranks
  std::size_t sequences = 0;       // in the KV cache
  std::size_t context_tokens = 0;  // of one sequence
};

/// What one rank computes in one step. Sequences are numbered as in the KV cache.
struct LlamaStep {
  std::span<const TokenId> tokens;         // by attention row
  std::span<const TokenRun> runs;          // the attention rows
  std::span<const TokenRun> cached_runs;   // the rows that gather_kv_rows delivers
  std::span<const std::size_t> last_rows;  // those of the attention rows that go to last_rows
  std::size_t batch_row_count = 0;
  std::size_t batch_last_row_count = 0;
};

class LlamaDecoder {
 public:
  virtual ~LlamaDecoder() = default;

  /// Runs all layers for the step's rows, which may be none, and adds their keys and values to the
  /// cache. Returns the logits of all ranks' last rows for this rank's part of the vocabulary,
  /// (batch_last_row_count, vocabulary_count()), valid until the next step.
  /// Collective over whom `communicator` joins, whose step has begun; throws what it throws.
  virtual const float* step(const LlamaStep& step, LayerCommunicator& communicator) = 0;

  /// Forgets a sequence: its pages may serve another. Local.
  virtual void release(std::size_t sequence) = 0;

  virtual DType dtype() const noexcept = 0;
  virtual std::size_t vocabulary_begin() const noexcept = 0;
  virtual std::size_t vocabulary_count() const noexcept = 0;  // of this rank
};

/// Loads what `rank` holds of a model and prepares to run it in f32 or bf16. `source` must outlive
/// the decoder: token embeddings are read from the file as they are needed. Local.
/// Throws: Error{usage} if the layout cannot hold the model, Error{unsupported} for a dtype that
/// this CPU lacks, Error{out_of_memory}, what `progress` throws.
std::unique_ptr<LlamaDecoder> load_llama(const LlamaSource& source, const Layout& layout,
                                         WorldRank rank, DType dtype, const LlamaMaxima& maxima,
                                         LoadProgress progress);

}  // namespace cohort
