// Which of all that the ranks ended with is the job's one error.

#include <algorithm>
#include <cstring>
#include <tuple>

#include "rendezvous/launcher.hpp"

namespace cohort::rendezvous {
namespace {

std::string name_of(WorldRank rank) {
  return "rank " + std::to_string(rank.index());
}

/// "rank 0 was waiting for rank 2 in ...", the end of an error of a poisoned job; empty if this is
/// not one.
std::string what_it_did(const RankEnd& end) {
  if (!end.report) return {};
  const std::string text = end.report->what();
  const std::size_t begin = text.rfind(" (rank ");
  if (begin == std::string::npos || text.back() != ')') return {};
  return text.substr(begin + 2, text.size() - begin - 3);
}

/// What another rank was doing when `culprit` ended: one that names it, else one that only saw a
/// third rank give up because of it.
std::string what_others_did(const std::vector<RankEnd>& ranks, WorldRank culprit) {
  std::string indirect;
  for (const RankEnd& end : ranks) {
    const std::string doing = what_it_did(end);
    if (doing.empty()) continue;
    if (end.report->rank() == culprit) return "; " + doing;
    if (indirect.empty()) indirect = "; " + doing;
  }
  return indirect;
}

/// Gave up because another rank had ended.
bool is_consequence(const RankEnd& end) {
  return end.report && end.report->code() == ErrorCode::peer_failed;
}

/// The first rank to fail by itself; of several at the same moment one that a signal ended, since
/// the others may have failed because of it. A rank that gave up because of another's end comes
/// after that one, in whichever order the launcher heard of them.
std::optional<WorldRank> first_to_fail(const std::vector<RankEnd>& ranks) {
  std::optional<WorldRank> first;
  const auto key = [&](std::size_t rank) {
    const RankEnd& end = ranks[rank];
    return std::make_tuple(end.ended_by_launcher, is_consequence(end), end.order, end.signal == 0);
  };
  for (std::uint32_t rank = 0; rank < ranks.size(); ++rank) {
    if (!ranks[rank].failed()) continue;
    if (!first || key(rank) < key(first->index())) first = WorldRank{rank};
  }
  return first;
}

/// Of all reports the one the others follow from: not merely about another rank's end, and without
/// additions made on the way.
const Error* first_cause(const std::vector<RankEnd>& ranks, const Error& candidate) {
  const Error* cause = &candidate;
  for (const RankEnd& end : ranks) {
    if (!end.report) continue;
    const bool better =
        cause->code() == ErrorCode::peer_failed && end.report->code() != ErrorCode::peer_failed;
    const bool plainer =
        std::strlen(end.report->what()) < std::strlen(cause->what()) &&
        std::strncmp(end.report->what(), cause->what(), std::strlen(end.report->what())) == 0;
    if (better || plainer) cause = &*end.report;
  }
  return cause;
}

Error explain(const std::vector<RankEnd>& ranks, WorldRank culprit, const std::string& program) {
  const RankEnd& end = ranks[culprit.index()];
  if (end.exec_errno) {
    return Error(ErrorCode::usage,
                 "cannot start '" + program + "': " + std::strerror(*end.exec_errno), culprit,
                 "start");
  }
  if (!end.report) {
    return Error(ErrorCode::peer_failed,
                 describe_end(culprit, end) + what_others_did(ranks, culprit), culprit);
  }
  const Error& cause = *first_cause(ranks, *end.report);
  const auto about = cause.rank();
  const bool about_an_end = cause.code() == ErrorCode::peer_failed && about &&
                            about->index() < ranks.size() && !ranks[about->index()].report;
  if (!about_an_end) return cause;
  // "rank 2 left" in the shared record: here it is known how it ended.
  const RankEnd& gone = ranks[about->index()];
  return Error(ErrorCode::peer_failed, describe_end(*about, gone) + what_others_did(ranks, *about),
               about, cause.phase());
}

}  // namespace

std::string describe_end(WorldRank rank, const RankEnd& end) {
  if (end.signal == 0) {
    return name_of(rank) + " ended with exit code " + std::to_string(end.exit_code);
  }
  const char* const name = ::sigdescr_np(end.signal);
  return name_of(rank) + " died of signal " + std::to_string(end.signal) +
         (name == nullptr ? std::string() : " (" + std::string(name) + ")");
}

LaunchResult conclude(std::vector<RankEnd> ranks, const std::string& program,
                      std::optional<int> interrupted_by) {
  LaunchResult result;
  result.ranks = std::move(ranks);
  constexpr int kSignalBase = 128;  // as shells say it
  if (interrupted_by) {
    result.exit_code = kSignalBase + *interrupted_by;
    return result;
  }
  const std::optional<WorldRank> culprit = first_to_fail(result.ranks);
  if (!culprit) return result;
  result.fault = explain(result.ranks, *culprit, program);
  const RankEnd& end = result.ranks[culprit->index()];
  constexpr int kUsage = 2;
  result.exit_code = end.exec_errno || end.exit_code == kUsage ? kUsage : 1;
  return result;
}

}  // namespace cohort::rendezvous
