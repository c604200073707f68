// Attempts: agreeing on a new generation while an old one lives, and giving it up without harm.

#include <algorithm>
#include <cstring>
#include <thread>

#include "backend/host/domain_state.hpp"

namespace cohort::host {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// Rounds and tags that one attempt may use. After it all ranks go on behind them, however far each
// of them got, so that nothing of an attempt given up is taken for part of a later exchange.
constexpr std::uint32_t kAttemptRounds = 1U << 20;
constexpr std::uint64_t kAttemptTags = std::uint64_t{1} << 20;

// Long enough for a rank that is writing a note to finish, even if it is not running now.
constexpr milliseconds kNotePatience{200};

}  // namespace

void Domain::begin_generation(std::uint32_t generation) noexcept {
  std::atomic<std::uint64_t>& word = state_->segment().commit;
  std::uint64_t seen = word.load(std::memory_order_seq_cst);
  while (commit_word::generation(seen) + 1 == generation) {
    const auto begun = commit_word::begun(seen, generation);
    if (!begun || word.compare_exchange_weak(seen, *begun, std::memory_order_seq_cst)) return;
  }
}

void Domain::settle_generation(std::uint32_t generation, CommitOutcome outcome) noexcept {
  std::atomic<std::uint64_t>& word = state_->segment().commit;
  std::uint64_t now = word.load(std::memory_order_seq_cst);
  while (commit_word::is_pending(now, generation) &&
         !word.compare_exchange_weak(now, commit_word::settled(now, outcome),
                                     std::memory_order_seq_cst)) {
  }
  ring_everybody();
}

void Domain::note_abort(std::uint32_t generation, const Error& error) noexcept {
  auto& notes = state_->segment().abort_notes;
  AbortNote& note = notes[generation % notes.size()];
  std::uint64_t word = note.word.load(std::memory_order_seq_cst);
  const std::uint64_t claimed = AbortNote::word_of(generation, AbortNote::kWriting);
  do {
    if (word >> 32 >= generation) return;  // another rank was first
  } while (!note.word.compare_exchange_weak(word, claimed, std::memory_order_seq_cst));
  note.code.store(static_cast<std::uint64_t>(error.code()), std::memory_order_release);
  note.rank.store(error.rank() ? error.rank()->index() + 1 : 0, std::memory_order_release);
  std::array<std::uint64_t, AbortNote::kTextWords> text{};
  std::memcpy(text.data(), error.what(), std::min(std::strlen(error.what()), sizeof text - 1));
  for (std::size_t i = 0; i < text.size(); ++i) {
    note.text[i].store(text[i], std::memory_order_release);
  }
  note.word.store(AbortNote::word_of(generation, AbortNote::kComplete), std::memory_order_seq_cst);
}

Error Domain::abort_cause(std::uint32_t generation, std::string_view phase) const {
  const auto& notes = state_->segment().abort_notes;
  const AbortNote& note = notes[generation % notes.size()];
  const std::uint64_t wanted = AbortNote::word_of(generation, AbortNote::kComplete);
  const TimePoint patience = deadline_after(kNotePatience);
  while (note.word.load(std::memory_order_seq_cst) < wanted && steady_clock::now() < patience) {
    std::this_thread::sleep_for(milliseconds(1));
  }
  const std::uint64_t before = note.word.load(std::memory_order_seq_cst);
  const auto code = static_cast<ErrorCode>(note.code.load(std::memory_order_acquire));
  const std::uint64_t rank = note.rank.load(std::memory_order_acquire);
  std::array<std::uint64_t, AbortNote::kTextWords + 1> text{};  // one more: always terminated
  for (std::size_t i = 0; i < note.text.size(); ++i) {
    text[i] = note.text[i].load(std::memory_order_acquire);
  }
  if (before != wanted || note.word.load(std::memory_order_seq_cst) != wanted) {
    return Error(ErrorCode::timeout,
                 "generation " + std::to_string(generation) +
                     " was given up by another rank; why is not recorded any more",
                 std::nullopt, std::string(phase));
  }
  const auto about =
      rank == 0 ? std::optional<WorldRank>() : WorldRank{static_cast<std::uint32_t>(rank - 1)};
  return Error(code, reinterpret_cast<const char*>(text.data()), about, std::string(phase));
}

std::uint32_t Domain::begin_attempt() {
  const std::uint32_t generation = next_generation();
  state_->attempt = generation;
  state_->attempt_round = state_->round;
  state_->fd_tag = std::uint64_t{generation} << 32;
  begin_generation(generation);
  try {
    check_attempt();
  } catch (...) {
    end_attempt();
    throw;
  }
  return generation;
}

void Domain::check_attempt() const {
  if (state_->attempt == 0) return;
  const std::uint64_t word = state_->segment().commit.load(std::memory_order_seq_cst);
  if (commit_word::is_pending(word, state_->attempt)) return;
  if (commit_word::outcome(word, state_->attempt) == CommitOutcome::committed) return;
  check("recommitting", "recommit");
  throw abort_cause(state_->attempt);
}

void Domain::conclude_attempt(TimePoint deadline) {
  const std::uint32_t generation = state_->attempt;
  if (decide(generation, true, deadline) == CommitOutcome::committed) {
    end_attempt();
    return;
  }
  check("recommitting", "recommit");
  throw abort_cause(generation);
}

void Domain::abort_attempt(const Error& error) {
  const std::uint32_t generation = state_->attempt;
  if (generation == 0) throw error;
  if (!poisoned()) note_abort(generation, error);
  settle_generation(generation, CommitOutcome::aborted);
  end_attempt();
  check("recommitting", "recommit");
  throw abort_cause(generation);
}

void Domain::end_attempt() noexcept {
  state_->round = state_->attempt_round + kAttemptRounds;
  state_->fd_tag = (std::uint64_t{state_->attempt} << 32) + kAttemptTags;
  state_->generation = state_->attempt;
  state_->attempt = 0;
}

/// A set-up wait that cannot succeed: the end of the attempt, or of the job if there is none.
void Domain::fail_wait(const Error& error, std::string_view doing) {
  if (state_->attempt != 0) throw error;  // whoever attempts catches it and aborts
  // Once: publishing ends the others' waits, after which they are no part of the story any more.
  if (publish(error) || !poisoned()) throw error;
  throw fault(doing, error.phase());
}

}  // namespace cohort::host
