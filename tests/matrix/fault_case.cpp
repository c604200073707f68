#include "matrix/fault_case.hpp"

#include <algorithm>
#include <array>
#include <stdexcept>

namespace cohort::matrix {
namespace {

constexpr std::array kFaults = {
    Fault::kill,      Fault::stop,        Fault::late, Fault::delay,         Fault::memory,
    Fault::addresses, Fault::descriptors, Fault::plan, Fault::digest,        Fault::truncated,
    Fault::garbage,   Fault::magic,       Fault::size, Fault::no_descriptor, Fault::other_object,
};
constexpr std::array<std::string_view, kFaults.size()> kFaultNames = {
    "kill",   "stop",      "late",    "delay", "memory", "addresses",     "descriptors",  "plan",
    "digest", "truncated", "garbage", "magic", "size",   "no_descriptor", "other_object",
};

constexpr bool kPoint = false;
constexpr bool kMessage = true;

constexpr std::array kSteps = {
    Step{"join.meet", Phase::join},
    Step{"join.connect", Phase::join},
    Step{"join.accept", Phase::join},
    Step{"join.control", Phase::join},
    Step{"join.map", Phase::join},
    Step{"join.share", Phase::join, kPoint, 1, true},
    Step{"join.agree", Phase::join},
    Step{"commit.agree", Phase::commit},
    Step{"commit.allocate", Phase::commit},
    Step{"arena.reserve", Phase::commit},
    Step{"commit.map", Phase::commit},
    Step{"map.send", Phase::commit},
    Step{"map.receive", Phase::commit},
    Step{"commit.prove", Phase::commit},
    Step{"commit.decide", Phase::commit},
    Step{"commit.seal", Phase::commit},
    Step{"call.noted", Phase::steady},
    Step{"call.stage", Phase::steady},
    Step{"call.header", Phase::steady, kPoint, 2},
    Step{"call.publish", Phase::steady, kPoint, 3},
    Step{"call.compare", Phase::steady, kPoint, 2},
    Step{"call.read", Phase::steady},
    Step{"call.result", Phase::steady},
    Step{"call.read_result", Phase::steady},
    Step{"call.done", Phase::steady},
    Step{"send.header", Phase::steady},
    Step{"send.publish", Phase::steady, kPoint, 2},
    Step{"send.stage", Phase::steady},
    Step{"recv.compare", Phase::steady},
    Step{"recv.read", Phase::steady},
    Step{"recv.credit", Phase::steady, kPoint, 2},
    Step{"close.meet", Phase::close},
    Step{"close.leave", Phase::close},
    Step{"join hello", Phase::join, kMessage},
    Step{"join handshake", Phase::join, kMessage, 1, false},
    Step{"join descriptor", Phase::join, kMessage, 1, true},
    Step{"join words", Phase::join, kMessage},
    Step{"commit words", Phase::commit, kMessage},
    Step{"commit descriptor", Phase::commit, kMessage},
    Step{"call header", Phase::steady, kMessage},
    Step{"send header", Phase::steady, kMessage},
    Step{"close words", Phase::close, kMessage},
};

bool has(std::string_view text, std::string_view part) noexcept {
  return text.find(part) != std::string_view::npos;
}

/// What this phase's errors call their step: calls by the operation, set-up by the phase.
std::vector<std::string_view> phases_of(const Step& step) {
  switch (step.phase) {
    case Phase::join: return {"join"};
    case Phase::commit:
      // After the decision the others go on to the first call.
      if (step.name == "commit.seal") return {"all_reduce", "commit"};
      return {"commit", "map", "broadcast"};
    case Phase::steady:
      return {"all_reduce", "all_gather", "broadcast", "send", "recv", "take", "close"};
    case Phase::close: return {"close"};
  }
  return {};
}

}  // namespace

std::span<const Fault> all_faults() noexcept {
  return kFaults;
}

std::string_view to_string(Fault fault) noexcept {
  return kFaultNames[static_cast<std::size_t>(fault)];
}

std::optional<Fault> fault_from_string(std::string_view name) noexcept {
  for (const Fault fault : kFaults) {
    if (to_string(fault) == name) return fault;
  }
  return std::nullopt;
}

std::string_view to_string(Phase phase) noexcept {
  constexpr std::array<std::string_view, 4> kNames = {"join", "commit", "steady", "close"};
  return kNames[static_cast<std::size_t>(phase)];
}

std::span<const Step> all_steps() noexcept {
  return kSteps;
}

const Step& step_of(std::string_view name) {
  for (const Step& step : kSteps) {
    if (step.name == name) return step;
  }
  throw std::invalid_argument("no step is called '" + std::string(name) + "'");
}

bool applies(Fault fault, const Step& step) noexcept {
  const bool descriptor = has(step.name, "descriptor");
  const bool header = has(step.name, "header");
  const bool words = has(step.name, "words");
  switch (fault) {
    case Fault::kill:
    case Fault::stop:
    case Fault::late:
    case Fault::delay:
    case Fault::memory:
    case Fault::addresses:
    case Fault::descriptors: return !step.is_message;
    case Fault::plan:
    case Fault::digest: return step.name == "commit.agree";
    case Fault::truncated: return step.is_message && !header;
    case Fault::garbage: return step.is_message;
    case Fault::magic: return step.is_message && !words && !header;
    case Fault::size: return step.name == "join hello" || words || (step.is_message && header);
    case Fault::no_descriptor:
    case Fault::other_object: return step.is_message && descriptor;
  }
  return false;
}

std::string FaultCase::describe() const {
  return std::string(to_string(fault)) + " at " + std::string(step->name) + " on rank " +
         std::to_string(victim) + " of " + std::to_string(rank_count);
}

bool FaultCase::victim_survives() const noexcept {
  return fault != Fault::kill && fault != Fault::stop && fault != Fault::late;
}

std::vector<FaultCase> all_cases(std::span<const std::uint32_t> rank_counts) {
  std::vector<FaultCase> cases;
  for (const Step& step : kSteps) {
    for (const Fault fault : kFaults) {
      if (!applies(fault, step)) continue;
      for (const std::uint32_t ranks : rank_counts) {
        for (std::uint32_t victim = 0; victim < ranks; ++victim) {
          const bool chosen = victim == 0 || victim == ranks / 2 || victim == ranks - 1;
          const bool reaches = !step.lowest || *step.lowest == (victim == 0);
          if (chosen && reaches) cases.push_back({fault, &step, ranks, victim});
        }
      }
    }
  }
  return cases;
}

Expected expected_of(const FaultCase& fault_case) {
  const Step& step = *fault_case.step;
  Expected expected;
  expected.phases = phases_of(step);
  // Who comes to `close` once the fault is known closes alone, and has lost nothing.
  expected.may_end_well = step.phase == Phase::close;
  // Two ranks that say different things: nobody else can tell which of them is wrong.
  const bool one_against_one = fault_case.rank_count == 2;
  switch (fault_case.fault) {
    case Fault::kill: expected.codes = {ErrorCode::peer_failed}; break;
    case Fault::stop:
    case Fault::late: expected.codes = {ErrorCode::timeout}; break;
    case Fault::delay: expected.may_end_well = true; break;
    case Fault::memory: expected.codes = {ErrorCode::out_of_memory}; break;
    case Fault::addresses:
    case Fault::descriptors:
      // Most steps need neither. A rank that cannot even be connected with is only waited for.
      expected.codes = {ErrorCode::out_of_memory, ErrorCode::system, ErrorCode::timeout};
      expected.may_end_well = true;
      expected.phases = {"join", "commit", "map"};
      break;
    case Fault::plan:
      expected.codes = {ErrorCode::mismatch};
      expected.names_victim = false;  // the text says who has what
      break;
    case Fault::digest:
      expected.codes = {ErrorCode::mismatch};
      expected.names_victim = !one_against_one;
      break;
    case Fault::truncated:
    case Fault::garbage:
    case Fault::magic:
    case Fault::size:
      expected.codes = {ErrorCode::mismatch, ErrorCode::corrupt};
      // Anybody may connect and say anything: only the right rank's absence is an error.
      if (step.name == "join handshake") expected.codes = {ErrorCode::timeout};
      break;
    case Fault::no_descriptor:
    case Fault::other_object: expected.codes = {ErrorCode::mismatch, ErrorCode::system}; break;
  }
  return expected;
}

}  // namespace cohort::matrix
