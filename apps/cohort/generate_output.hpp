#pragma once

#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string>
#include <vector>

#include <cohort/health.hpp>
#include <cohort/layout.hpp>
#include <cohort/ledger.hpp>
#include <cohort/plan.hpp>

#include "engine/engine.hpp"
#include "generate_prompts.hpp"
#include "model/tokenizer_stream.hpp"
#include "report/job_timeline.hpp"

namespace cohort {

struct Completion {
  std::vector<TokenId> tokens;
  std::string text;
  FinishReason finish_reason = FinishReason::length;
  std::uint32_t replica = 0;
};

/// What a job did; what only rank 0 writes down is complete there alone.
struct GenerateResult {
  std::vector<Prompt> prompts;
  std::vector<Completion> completions;  // by prompt
  std::vector<LedgerRow> communication;
  std::uint64_t registrations_since_commit = 0;  // of all ranks
  std::vector<std::uint64_t> planned_bytes;      // by world rank
  std::vector<std::uint64_t> measured_bytes;     // by world rank
  std::vector<RankHealth> ranks;                 // by world rank, as they were at the end
  double load_s = 0;
  EngineTiming timing;
  std::optional<Plan> plan;             // what was committed; on rank 0
  std::vector<RankTimeline> timelines;  // by world rank, if calls were recorded; on rank 0
};

/// Writes completions as they come, in the order of the prompts: the first unfinished one token by
/// token in whole characters, the later ones when their turn comes.
class CompletionStream {
 public:
  /// All must outlive the stream.
  CompletionStream(std::ostream& output, std::span<const Prompt> prompts,
                   const Tokenizer& tokenizer);

  /// Throws: Error{system} once nobody can read what is written.
  void push(const TokenOutcome& outcome);

 private:
  struct Text {
    StreamingDecoder decoder;
    std::string pending;  // decoded, not yet written
    bool finished = false;
  };

  void write_heading(std::size_t index);
  void write_ready();

  std::ostream& output_;
  std::span<const Prompt> prompts_;
  std::vector<Text> texts_;
  std::size_t current_ = 0;  // the prompt whose completion is being written
};

/// What there is to say after the completions: communication, memory, times. Local.
void print_summary(const GenerateResult& result, const Layout& layout, std::ostream& output);

/// The page of --report, of rank 0's result: all but what was asked and answered. Local.
std::string generate_report(const GenerateResult& result);

/// The whole result as one JSON document. Local.
void print_json(const GenerateResult& result, const Layout& layout, std::ostream& output);

}  // namespace cohort
