#include "engine/step_rows.hpp"

#include <utility>

namespace cohort {

namespace {

/// What the two kinds of steps have in common, by replica and context-parallel rank.
struct Shares {
  std::vector<std::size_t> row_counts;   // (replicas, cp) of a prefill step, (replicas) else
  std::vector<std::size_t> last_counts;  // the same
  std::vector<std::size_t> requests;
  std::vector<std::size_t> replica_last_counts;
};

ContextParallel split(const Layout& layout, const std::vector<StepChunk>& chunks) {
  std::vector<PrefillSequence> sequences;
  for (const StepChunk& chunk : chunks) {
    sequences.push_back({.tokens = chunk.count, .prefix = chunk.position});
  }
  return {layout.sizes().attn_cp, sequences};
}

/// `run.sequence` counts the step's chunks so far; from here on it is the KV cache's number.
std::vector<TokenRun> with_cache_sequences(std::vector<TokenRun> runs,
                                           const std::vector<StepChunk>& chunks) {
  for (TokenRun& run : runs) run.sequence = chunks[run.sequence].sequence;
  return runs;
}

class Builder {
 public:
  Builder(const Layout& layout, WorldRank rank, const Schedule& schedule)
      : layout_(layout),
        schedule_(schedule),
        own_replica_(layout.attn_dp_rank(rank)),
        own_cp_rank_(layout.attn_cp_rank(rank)) {}

  void add_prefill(std::size_t replica, const std::vector<StepChunk>& chunks) {
    const ContextParallel cp = split(layout_, chunks);
    std::size_t last_count = 0;
    for (std::uint32_t cp_rank = 0; cp_rank < cp.cp(); ++cp_rank) {
      shares_.row_counts.push_back(cp.rows_by_rank()[cp_rank]);
      const auto last = last_rows_of(cp, cp_rank, chunks);
      shares_.last_counts.push_back(last.size());
      last_count += last.size();
      for (const auto& [row, chunk] : last) shares_.requests.push_back(chunk->request);
      if (replica != own_replica_ || cp_rank != own_cp_rank_) continue;
      for (const auto& [row, chunk] : last) own_last_rows_.push_back(row);
    }
    shares_.replica_last_counts.push_back(last_count);
    if (replica != own_replica_) return;
    const auto own = cp.runs(own_cp_rank_);
    append_tokens(own, chunks);
    runs_ = with_cache_sequences({own.begin(), own.end()}, chunks);
    cached_runs_ = with_cache_sequences(cp.gathered_runs(), chunks);
  }

  void add_decode(std::size_t replica, const std::vector<StepChunk>& chunks) {
    shares_.row_counts.push_back(chunks.size());
    shares_.last_counts.push_back(chunks.size());
    shares_.replica_last_counts.push_back(chunks.size());
    for (const StepChunk& chunk : chunks) shares_.requests.push_back(chunk.request);
    if (replica != own_replica_) return;
    for (std::size_t row = 0; row < chunks.size(); ++row) {
      const StepChunk& chunk = chunks[row];
      tokens_.push_back(schedule_.token_at(chunk.request, chunk.position));
      runs_.push_back({.sequence = chunk.sequence,
                       .position = chunk.position,
                       .count = 1,
                       .local_row = row,
                       .token_row = row});
      own_last_rows_.push_back(row);
    }
    cached_runs_ = runs_;
  }

  StepRows finish(bool prefill) {
    const auto count = [&](std::span<const std::size_t> counts) {
      return prefill ? BatchRows::by_chunk(layout_, counts)
                     : BatchRows::by_replica(layout_, counts);
    };
    return {.rows = count(shares_.row_counts),
            .last_rows = count(shares_.last_counts),
            .tokens = std::move(tokens_),
            .runs = std::move(runs_),
            .cached_runs = std::move(cached_runs_),
            .own_last_rows = std::move(own_last_rows_),
            .requests = std::move(shares_.requests),
            .replica_last_counts = std::move(shares_.replica_last_counts)};
  }

 private:
  using LastRow = std::pair<std::size_t, const StepChunk*>;

  static std::vector<LastRow> last_rows_of(const ContextParallel& cp, std::uint32_t cp_rank,
                                           const std::vector<StepChunk>& chunks) {
    std::vector<LastRow> last;
    for (std::size_t i = 0; i < chunks.size(); ++i) {
      const auto& place = cp.last_rows()[i];
      if (chunks[i].wants_token && place && place->cp_rank == cp_rank) {
        last.emplace_back(place->local_row, &chunks[i]);
      }
    }
    return last;
  }

  void append_tokens(std::span<const TokenRun> runs, const std::vector<StepChunk>& chunks) {
    for (const TokenRun& run : runs) {
      for (std::size_t i = 0; i < run.count; ++i) {
        tokens_.push_back(schedule_.token_at(chunks[run.sequence].request, run.position + i));
      }
    }
  }

  const Layout& layout_;
  const Schedule& schedule_;
  std::size_t own_replica_;
  std::uint32_t own_cp_rank_;
  Shares shares_;
  std::vector<TokenId> tokens_;
  std::vector<TokenRun> runs_;
  std::vector<TokenRun> cached_runs_;
  std::vector<std::size_t> own_last_rows_;
};

}  // namespace

StepRows step_rows(const Layout& layout, WorldRank rank, const Schedule& schedule,
                   const ScheduledStep& step) {
  Builder builder(layout, rank, schedule);
  for (std::size_t replica = 0; replica < step.replicas.size(); ++replica) {
    if (step.prefill) {
      builder.add_prefill(replica, step.replicas[replica]);
    } else {
      builder.add_decode(replica, step.replicas[replica]);
    }
  }
  return builder.finish(step.prefill);
}

}  // namespace cohort
