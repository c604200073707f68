#pragma once

namespace cohort {

/// What happens to a decoder's rows between its parts: ranks hold some of a batch's rows in
/// attention, all of them in the MLP, and what a part computes may be one addend of a sum.
///
/// Each pair of functions is one boundary: the first says where this rank writes its rows, the
/// second completes them and says where to read. Rows are of the decoder's element type. A buffer
/// stays valid until its boundary is used again. *Attention rows* are the rows that this rank
/// computes attention for; *batch rows* are those of all ranks.
class LlamaMoves {
 public:
  virtual ~LlamaMoves() = default;

  /// New rows [keys | values] of the attention rows -> those of all rows that this rank caches.
  virtual void* kv_rows() = 0;
  virtual const void* gather_kv_rows() = 0;

  /// Attention output of this rank's heads -> the sum over all heads; attention rows.
  virtual void* attention_output() = 0;
  virtual const void* complete_attention_output() = 0;

  /// Attention rows -> all batch rows.
  virtual void* mlp_input() = 0;
  virtual const void* gather_mlp_input() = 0;

  /// All batch rows, this rank's addend -> the sum, attention rows.
  virtual void* mlp_output() = 0;
  virtual const void* complete_mlp_output() = 0;

  /// Those of the attention rows that a next token is wanted for -> those of all ranks.
  virtual void* last_rows() = 0;
  virtual const void* gather_last_rows() = 0;
};

}  // namespace cohort
