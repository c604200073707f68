#include <algorithm>
#include <array>
#include <cstring>
#include <new>
#include <optional>
#include <string>
#include <utility>

#include <cohort/error.hpp>
#include <cohort/session.hpp>

#include "base/system_limits.hpp"
#include "base/test_point.hpp"
#include "heap/plan_text.hpp"
#include "rendezvous/protocol.hpp"
#include "session/agree.hpp"
#include "session/session_state.hpp"

// Commit, step by step: the ranks agree that they hold the same plan; each allocates, and one
// failure fails all; synchronisation words are initialised before anything is mapped; every slot's
// path runs once; then one word decides for all.

namespace cohort {
namespace {

using TimePoint = host::Domain::TimePoint;
constexpr std::string_view kPhase = "commit";

std::vector<std::byte> to_bytes(const std::string& text) {
  const auto* begin = reinterpret_cast<const std::byte*>(text.data());
  return {begin, begin + text.size()};
}

std::string to_text(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::vector<std::string> split_lines(const std::string& text) {
  std::vector<std::string> lines;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    lines.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

}  // namespace

void agree_on_plan(host::Domain& domain, const Plan& plan, std::string_view phase,
                   TimePoint deadline) {
  const auto digest = heap::plan_digest(plan);
  const auto digests = domain.all_gather(std::as_bytes(std::span(digest)), phase, deadline);
  bool equal = true;
  for (const auto& other : digests) equal = equal && other == digests.front();
  if (equal) return;

  std::string mine;
  for (const std::string& line : heap::plan_lines(plan)) mine += line + "\n";
  std::vector<std::vector<std::string>> lines_by_rank;
  for (const auto& bytes : domain.all_gather(to_bytes(mine), phase, deadline)) {
    lines_by_rank.push_back(split_lines(to_text(bytes)));
  }
  throw Error(ErrorCode::mismatch, heap::describe_difference(lines_by_rank), std::nullopt,
              std::string(phase));
}

namespace {

struct Failure {
  WorldRank on;
  Error error;
  WorldRank about;
};

/// Throws the failure of the lowest rank; where several ranks failed because of others, that of the
/// lowest rank that is about the one most of them name.
void throw_first_failure(const std::vector<std::vector<std::byte>>& outcomes,
                         std::string_view phase) {
  std::vector<Failure> failures;
  std::vector<std::size_t> named(outcomes.size());
  for (std::uint32_t rank = 0; rank < outcomes.size(); ++rank) {
    if (outcomes[rank].empty()) continue;
    const Error error = rendezvous::decode_error(outcomes[rank]);
    WorldRank about = error.rank().value_or(WorldRank{rank});
    if (about.index() >= outcomes.size()) about = WorldRank{rank};
    failures.push_back({WorldRank{rank}, error, about});
    ++named[about.index()];
  }
  if (failures.empty()) return;
  const auto& worst = *std::ranges::max_element(
      failures, {}, [&](const Failure& failure) { return named[failure.about.index()]; });
  throw Error(worst.error.code(),
              std::string(phase) + " failed on rank " + std::to_string(worst.on.index()) + ": " +
                  worst.error.what(),
              worst.about, std::string(phase));
}

}  // namespace

void run_agreed(host::Domain& domain, std::string_view phase, TimePoint deadline, StepKind kind,
                FunctionRef<void()> step) {
  std::vector<std::byte> outcome;
  try {
    step();
  } catch (const Error& error) {
    outcome = rendezvous::encode_error(error);
  } catch (const std::bad_alloc&) {
    if (kind == StepKind::exchanging) throw;
    outcome = rendezvous::encode_error(
        Error(ErrorCode::out_of_memory, "no memory for the session's own bookkeeping"));
  }
  domain.check("in " + std::string(phase), phase);
  throw_first_failure(domain.all_gather(outcome, phase, deadline), phase);
}

void refuse_what_strict_forbids(const Plan& plan) {
  const bool pinned = plan.options().path_table.pin() == Path::host_staged;
  if (!plan.options().strict || (plan.options().symmetry == Symmetry::on && !pinned)) return;
  const Reason reason = plan.options().symmetry == Symmetry::on ? Reason::ok : Reason::disabled;
  for (const GroupKind kind : all_group_kinds()) {
    const bool planned = (plan.group_mask() & (1U << static_cast<unsigned>(kind))) != 0;
    if (!planned || plan.layout().group_size(kind) < 2) continue;
    throw Error(ErrorCode::strict_miss,
                "strict: every call on group " + std::string(to_string(kind)) +
                    " would take path " + std::string(to_string(Path::host_staged)) +
                    " with reason " + std::string(to_string(reason)) + ": " +
                    (reason == Reason::ok ? "it is pinned, and strict mode allows no copies"
                                          : std::string(explain(reason))),
                std::nullopt, std::string(kPhase));
  }
}

namespace {

/// Whether ranks outnumber CPUs: a table may then say other paths. Ranks may be bound to different
/// CPUs, so the fewest that any of them may use decide for all.
bool agree_on_crowding(host::Domain& domain, TimePoint deadline) {
  const std::uint32_t mine = usable_cpu_count();
  std::uint32_t fewest = mine;
  for (const auto& bytes :
       domain.all_gather(std::as_bytes(std::span(&mine, 1)), kPhase, deadline)) {
    std::uint32_t theirs = 0;
    std::memcpy(&theirs, bytes.data(), std::min(sizeof(theirs), bytes.size()));
    fewest = std::min(fewest, theirs);
  }
  return domain.rank_count() > fewest;
}

void decide(host::Domain& domain, std::uint32_t generation, TimePoint deadline) {
  if (domain.decide(generation, true, deadline) == host::CommitOutcome::committed) return;
  domain.check("committing", kPhase);
  throw domain.abort_cause(generation, kPhase);
}

std::unique_ptr<SessionState> commit_steps(World& world, const Plan& plan,
                                           const CommitOptions& options) {
  host::Domain& domain = world.domain();
  const TimePoint deadline = domain.deadline_after(domain.limits().setup);
  test_point("commit.agree");
  domain.check("committing", kPhase);
  agree_on_plan(domain, plan, kPhase, deadline);
  if (plan.layout().world_size() != world.size()) {
    throw Error(ErrorCode::usage,
                "the layout is for " + std::to_string(plan.layout().world_size()) +
                    " ranks, the world has " + std::to_string(world.size()),
                std::nullopt, std::string(kPhase));
  }
  refuse_what_strict_forbids(plan);
  const bool crowded = agree_on_crowding(domain, deadline);
  const std::uint32_t generation = domain.next_generation();
  auto state = std::make_unique<SessionState>(domain, plan, generation);
  state->choose_paths(crowded);
  if (plan.options().memory != Memory::host) {
    run_agreed(domain, kPhase, deadline, StepKind::local, [&] { state->open_memory(options); });
    state->agree_on_memory(deadline);
  } else {
    state->open_memory(options);
  }
  test_point("commit.allocate");
  run_agreed(domain, kPhase, deadline, StepKind::local, [&] { state->allocate(); });
  test_point("commit.map");
  run_agreed(domain, kPhase, deadline, StepKind::exchanging, [&] { state->map_peers(deadline); });
  if (plan.options().nccl != NcclUse::off) {
    test_point("commit.nccl");
    run_agreed(domain, kPhase, deadline, StepKind::exchanging,
               [&] { state->connect_nccl(deadline); });
    state->refuse_without_nccl();
  }
  test_point("commit.prove");
  run_agreed(domain, kPhase, deadline, StepKind::exchanging, [&] { state->prove_slots(); });
  test_point("commit.decide");
  decide(domain, generation, deadline);
  test_point("commit.seal");
  state->seal();
  return state;
}

}  // namespace

Session commit(World& world, const Plan& plan, const CommitOptions& options) {
  return Session(
      or_out_of_memory(world.domain(), kPhase, [&] { return commit_steps(world, plan, options); }));
}

}  // namespace cohort
