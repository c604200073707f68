#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <cohort/dtype.hpp>
#include <cohort/layout.hpp>
#include <cohort/world.hpp>

#include "engine/plan_slots.hpp"
#include "layout_flags.hpp"
#include "model/model_config.hpp"
#include "model/sampler.hpp"
#include "path_flags.hpp"
#include "verbosity.hpp"

namespace CLI {
class App;
}

namespace cohort {

/// The flags that decide what slots a model's engine has; `generate` and `plan` share them.
struct EngineFlags {
  std::string model;
  LayoutFlags layout;
  std::optional<std::uint32_t> context;
  std::uint32_t sequences = 8;
  std::uint32_t step_tokens = 512;
  float temperature = 0;
  std::string dtype = "f32";
  std::string symmetric = "on";
  bool enable_symm_mem = false;
  std::string pool;
  bool strict = false;
  PathFlags paths;

  /// Throws: Error{usage} naming --pool if it is no size.
  EngineSpec spec(const ModelConfig& config) const;
  /// Throws: what `PathFlags::table` throws.
  PlanOptions plan_options() const;
  /// Throws: Error{usage} for two flags that say the opposite of one thing.
  void check_spellings() const;
};

/// Adds them to a command; `flags` is filled when the command is parsed. Local.
void add_engine_flags(CLI::App& command, EngineFlags& flags);

/// All flags of `generate`.
struct GenerateFlags {
  EngineFlags engine;
  std::vector<std::string> prompts;
  std::string prompts_file;
  bool chat = false;
  std::optional<std::uint32_t> ranks;
  std::uint32_t completion_tokens_max = 128;
  bool ignore_eos = false;
  std::int32_t top_k = 0;
  float top_p = 1;
  std::uint64_t seed = 0;
  double deadline_s = 10;
  std::string health_file;
  std::string report;
  std::string trace;
  Verbosity verbosity;
  bool json = false;

  /// Whether the ranks keep a timeline of their calls.
  bool records_calls() const noexcept { return !report.empty() || !trace.empty(); }

  /// The layout, with --ranks and --tp filled in from each other.
  /// Throws: Error{usage} naming the flags that contradict each other.
  Layout layout() const;

  /// How the next token is chosen.
  /// Throws: Error{usage} for values that make no sense.
  SamplingOptions sampling() const;

  /// How long ranks wait for each other.
  /// Throws: Error{usage} for a deadline out of range.
  WaitLimits limits() const;
};

void add_generate_flags(CLI::App& command, GenerateFlags& flags);

}  // namespace cohort
