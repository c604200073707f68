#include "matrix/judge.hpp"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <set>

#include "base/clock.hpp"
#include "matrix/rank_script.hpp"

namespace cohort::matrix {
namespace {

// What a busy machine may add to a deadline.
constexpr std::chrono::seconds kSlack{5};

class Judgement {
 public:
  Judgement(const FaultCase& fault_case, const Board& board,
            const std::array<ProcessEnd, kRankCountMax>& processes)
      : case_(fault_case),
        expected_(expected_of(fault_case)),
        board_(board),
        processes_(processes) {}

  Outcome run() {
    const std::int64_t fired = board_.ranks[case_.victim].fired_ns.load();
    if (fired == 0) complain("the fault never happened");
    for (std::uint32_t rank = 0; rank < case_.rank_count; ++rank) {
      judge_process(rank);
      if (rank == case_.victim) {
        judge_victim();
      } else {
        judge_other(rank, fired);
      }
      if (rank != case_.victim || case_.victim_survives()) judge_next_world(rank);
    }
    judge_agreement();
    if (!outcome_.complaints.empty()) {
      outcome_.complaints += "  the victim ended with " + describe(end_of(case_.victim, 0)) + "\n";
    }
    return outcome_;
  }

 private:
  void complain(const std::string& what) {
    outcome_.complaints += case_.describe() + ": " + what + "\n";
  }
  void complain(std::uint32_t rank, const std::string& what) {
    complain("rank " + std::to_string(rank) + " " + what);
  }

  const WorldEnd& end_of(std::uint32_t rank, std::size_t world) const {
    return board_.ranks[rank].worlds[world];
  }

  static std::string describe(const WorldEnd& end) {
    const std::uint32_t state = end.state.load();
    if (state == WorldEnd::none) return "nothing";
    if (state == WorldEnd::well) return "success";
    if (state == WorldEnd::other_exception) return std::string("an exception: ") + end.text.data();
    return std::string(to_string(end.code)) + " in '" + end.phase.data() + "': " + end.text.data();
  }

  void judge_process(std::uint32_t rank) {
    const ProcessEnd& end = processes_[rank];
    const bool killed = case_.fault == Fault::kill && rank == case_.victim;
    if (end.hung) complain(rank, "hung");
    if (!end.hung && end.signal != (killed ? SIGKILL : 0)) {
      complain(rank, "ended with signal " + std::to_string(end.signal));
    }
    if (end.exit_code != 0) complain(rank, "ended with code " + std::to_string(end.exit_code));
  }

  void judge_leftovers(std::uint32_t rank, const WorldEnd& end) {
    if (end.left_behind[0] != 0) complain(rank, "left " + std::string(end.left_behind.data()));
  }

  void judge_victim() {
    if (case_.fault == Fault::kill) return;
    const WorldEnd& end = end_of(case_.victim, 0);
    const std::uint32_t state = end.state.load();
    if (state != WorldEnd::well && state != WorldEnd::error) {
      complain(case_.victim, "ended with " + describe(end));
    }
    const bool wrong_code = state != WorldEnd::error || end.code != ErrorCode::out_of_memory;
    if (case_.fault == Fault::memory && wrong_code && !expected_.may_end_well) {
      complain(case_.victim, "ended with " + describe(end));
    }
    judge_leftovers(case_.victim, end);
  }

  void judge_other(std::uint32_t rank, std::int64_t fired) {
    const WorldEnd& end = end_of(rank, 0);
    judge_leftovers(rank, end);
    ends_.insert(end.state.load() == WorldEnd::error ? std::string(to_string(end.code)) : "well");
    if (end.state.load() == WorldEnd::well && expected_.may_end_well) return;
    const bool right_code = end.state.load() == WorldEnd::error &&
                            std::ranges::find(expected_.codes, end.code) != expected_.codes.end();
    if (!right_code) {
      complain(rank, "ended with " + describe(end));
      return;
    }
    const std::string name = "rank " + std::to_string(case_.victim);
    const bool named = end.about == case_.victim;
    const bool told = std::string_view(end.text.data()).find(name) != std::string_view::npos;
    if (expected_.names_victim ? !named : !told) {
      complain(rank, "names " +
                         (end.about == kRankCountMax ? "nobody" : std::to_string(end.about)) +
                         ": " + describe(end));
    }
    if (std::ranges::find(expected_.phases, end.phase.data()) == expected_.phases.end()) {
      complain(rank, "names another step: " + describe(end));
    }
    judge_time(rank, end.at_ns - fired);
  }

  void judge_time(std::uint32_t rank, std::int64_t took_ns) {
    const WaitLimits limits = short_limits();
    const auto bound = (limits.setup + limits.setup / 4 + kSlack) * limits.scale;
    const auto took = std::chrono::duration<double, std::milli>(std::chrono::nanoseconds(took_ns));
    if (took > bound) complain(rank, "heard of it after " + std::to_string(took.count()) + " ms");
    outcome_.slowest_ms = std::max(outcome_.slowest_ms, took.count());
  }

  void judge_next_world(std::uint32_t rank) {
    const WorldEnd& end = end_of(rank, 1);
    if (end.state.load() != WorldEnd::well) {
      complain(rank, "ended its next world with " + describe(end));
    }
    judge_leftovers(rank, end);
  }

  void judge_agreement() {
    const std::size_t well = ends_.count("well");
    if (ends_.size() - well > 1 || (well != 0 && ends_.size() > 1 && !expected_.may_end_well)) {
      std::string all;
      for (const std::string& end : ends_) all += (all.empty() ? "" : ", ") + end;
      complain("ranks do not agree: " + all);
    }
    outcome_.how = ends_.size() == 1 ? *ends_.begin() : "mixed";
  }

  const FaultCase& case_;
  Expected expected_;
  const Board& board_;
  const std::array<ProcessEnd, kRankCountMax>& processes_;
  std::set<std::string> ends_;
  Outcome outcome_;
};

}  // namespace

Outcome judge(const FaultCase& fault_case, const Board& board,
              const std::array<ProcessEnd, kRankCountMax>& processes) {
  return Judgement(fault_case, board, processes).run();
}

}  // namespace cohort::matrix
