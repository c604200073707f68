#pragma once

#include <cstddef>
#include <optional>

#include <cohort/dtype.hpp>
#include <cohort/layer_communicator.hpp>
#include <cohort/layout.hpp>
#include <cohort/plan.hpp>

#include "model/llama.hpp"
#include "model/model_config.hpp"

namespace cohort {

/// What bounds an engine's memory, as the user states it.
struct EngineMaxima {
  std::size_t context_tokens = 0;     // of one sequence, prompt and completion
  std::size_t replica_sequences = 0;  // that one data-parallel replica runs at once
  std::size_t step_tokens = 0;        // that one replica prefills in one step
};

/// How the next token is chosen decides what must travel.
enum class TokenChoice : std::uint8_t {
  greedy,   ///< each rank's best (logit, token) does
  sampled,  ///< all logits are needed
};

struct EngineSpec {
  DType dtype = DType::f32;
  EngineMaxima maxima;
  TokenChoice choice = TokenChoice::greedy;
  // Budget of the activations; by default what they need.
  std::optional<std::size_t> pool_bytes = std::nullopt;
};

/// The slots of an engine, and the sizes they follow from.
struct EngineSlots {
  LayerSlots layers;
  LlamaMaxima llama;
  std::optional<SlotId> candidates;    // of a greedy engine: (logit, token) pairs over tp
  std::optional<SlotId> logits;        // of a sampling engine: all logits over tp
  SlotId replica_tokens;               // the replica's next tokens over attn
  std::optional<SlotId> batch_tokens;  // all replicas' next tokens over tp; none with one replica
};

/// The most that one step of an engine holds. Local, pure.
LlamaMaxima llama_maxima(const Layout& layout, const EngineMaxima& maxima) noexcept;

/// Declares all slots that serving `config` under the plan's layout takes. SPMD, local, pure.
/// Throws: Error{usage} if the layout cannot hold the model, or for maxima of 0 or a context beyond
/// the model's.
EngineSlots plan_slots(Plan& plan, const ModelConfig& config, const EngineSpec& spec);

}  // namespace cohort
