#include <string>

#include <cohort/context_parallel.hpp>
#include <cohort/error.hpp>

namespace cohort {

namespace {

/// One sequence cut into blocks; the first `tokens % blocks` have a token more.
struct Cut {
  std::size_t tokens = 0;
  std::size_t blocks = 1;

  std::size_t begin(std::size_t block) const noexcept {
    return tokens / blocks * block + std::min(block, tokens % blocks);
  }
  std::size_t count(std::size_t block) const noexcept { return begin(block + 1) - begin(block); }
};

void append(std::vector<TokenRun>& runs, const TokenRun& run) {
  if (run.count == 0) return;
  if (!runs.empty() && runs.back().sequence == run.sequence &&
      runs.back().position + runs.back().count == run.position) {
    runs.back().count += run.count;
    return;
  }
  runs.push_back(run);
}

}  // namespace

ContextParallel::ContextParallel(std::uint32_t cp, std::span<const PrefillSequence> sequences)
    : runs_(cp), rows_by_rank_(cp, 0), last_rows_(sequences.size()) {
  if (cp == 0) {
    throw Error(ErrorCode::usage, "context parallelism needs at least one rank", std::nullopt,
                "context_parallel");
  }
  const std::size_t block_count = 2 * std::size_t{cp};
  for (std::size_t s = 0; s < sequences.size(); ++s) {
    const Cut cut{sequences[s].tokens, block_count};
    for (std::uint32_t r = 0; r < cp; ++r) {
      for (const std::size_t block : {std::size_t{r}, block_count - 1 - r}) {
        const std::size_t begin = cut.begin(block);
        append(runs_[r], {.sequence = s,
                          .position = sequences[s].prefix + begin,
                          .count = cut.count(block),
                          .local_row = rows_by_rank_[r],
                          .token_row = total_rows_ + begin});
        rows_by_rank_[r] += cut.count(block);
        if (cut.count(block) > 0 && cut.begin(block + 1) == cut.tokens) {
          last_rows_[s] = RowPlace{r, rows_by_rank_[r] - 1};
        }
      }
    }
    total_rows_ += cut.tokens;
  }
}

std::span<const TokenRun> ContextParallel::runs(std::uint32_t cp_rank) const {
  if (cp_rank >= cp()) {
    throw Error(ErrorCode::usage,
                "context-parallel rank " + std::to_string(cp_rank) + " of " + std::to_string(cp()),
                std::nullopt, "context_parallel");
  }
  return runs_[cp_rank];
}

std::vector<TokenRun> ContextParallel::gathered_runs() const {
  std::vector<TokenRun> gathered;
  std::size_t rank_first = 0;
  for (std::size_t r = 0; r < runs_.size(); ++r) {
    for (TokenRun run : runs_[r]) {
      run.local_row += rank_first;
      gathered.push_back(run);
    }
    rank_first += rows_by_rank_[r];
  }
  return gathered;
}

std::vector<std::size_t> ContextParallel::token_order() const {
  std::vector<std::size_t> order(total_rows_);
  for (const TokenRun& run : gathered_runs()) {
    for (std::size_t i = 0; i < run.count; ++i) order[run.token_row + i] = run.local_row + i;
  }
  return order;
}

std::vector<RowCopy> ContextParallel::split_copies(std::uint32_t cp_rank) const {
  std::vector<RowCopy> copies;
  for (const TokenRun& run : runs(cp_rank)) {
    copies.push_back({run.local_row, run.token_row, run.count});
  }
  return copies;
}

std::vector<RowCopy> ContextParallel::token_order_copies() const {
  std::vector<RowCopy> copies;
  for (const TokenRun& run : gathered_runs()) {
    copies.push_back({run.token_row, run.local_row, run.count});
  }
  return copies;
}

}  // namespace cohort
