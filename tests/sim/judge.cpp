#include "sim/judge.hpp"

#include <algorithm>
#include <array>
#include <optional>

#include "collectives/header.hpp"

namespace cohort::sim {

namespace {

/// What follows `mark`, up to `end`; nothing if there is no such mark.
std::optional<std::string> part_after(const std::string& text, const std::string& mark,
                                      const std::string& end) {
  const std::size_t at = text.find(mark);
  if (at == std::string::npos) return std::nullopt;
  const std::size_t begin = at + mark.size();
  return text.substr(begin, text.find(end, begin) - begin);
}

/// "call 17 barrier" tells of a barrier.
bool tells_of(const std::string& text, Op op) {
  const auto call = part_after(text, "call ", ",");
  if (!call || text.find("call ") != 0) return false;
  const std::string name(to_string(op));
  const std::string told = call->substr(call->find(' ') + 1) + " ";
  const char after = told[std::min(name.size(), told.size() - 1)];
  return told.find(name) == 0 && (after == '(' || after == ' ');
}

}  // namespace

std::string missing_calls(const std::string& text, const Layout& layout, WorldRank rank,
                          const LastCalls& last_calls, bool proved) {
  const std::string whose = "last calls of rank " + std::to_string(rank.index()) + ":";
  const auto told = part_after(text, whose, "; last calls");
  if (!told) return "'" + whose + "' is missing";
  for (const GroupKind kind : program_kinds()) {
    const auto ranks = layout.group_of(kind, rank);
    if (ranks.size() < 2) continue;
    const std::string group = " " + collectives::describe(kind, ranks);
    for (std::uint32_t lane = 0; lane < kLanes; ++lane) {
      const std::string mark = " lane " + std::to_string(lane) + " ";
      const auto of_group = part_after(*told, group, ";");
      const auto of_lane =
          part_after(of_group.value_or(""), mark, ", lane " + std::to_string(lane + 1));
      const std::string what = "in '" + told.value() + "' " + group + mark;
      if (!of_lane) return what + "is missing";
      const auto last = last_calls.find({kind, lane});
      if (last != last_calls.end()) {
        if (!tells_of(*of_lane, last->second))
          return what + "is no " + std::string(to_string(last->second));
      } else if (proved && lane == 0) {
        if (!tells_of(*of_lane, Op::broadcast)) return what + "is no proof";
      } else if (of_lane->find("none") != 0) {
        return what + "is not 'none'";
      }
    }
  }
  return "";
}

std::string disagreement(const Mutation& mutation, const Foretold& told_before, const RunEnd& end) {
  const Outcome foretold = told_before.outcome;
  const auto told = [&](const std::string& what) {
    return what + "; foretold: " + to_string(foretold) + "; " + mutation.text + "\n" +
           end.failure();
  };
  if (end.wrong() != 0) return told("a wrong result was returned");
  if (foretold == Outcome::well) return end.first_error() == nullptr ? "" : told("it failed");
  const ErrorCode code = foretold == Outcome::mismatch ? ErrorCode::mismatch : ErrorCode::timeout;
  const std::string name = "rank " + std::to_string(mutation.rank.index());
  if (end.first_error() == nullptr) return told("all ranks ended well");
  for (const RankEnd& rank : end.ranks) {
    // Of a failed job, closing is local: a rank whose calls were all good may have come so far.
    if (!rank.error) continue;
    if (rank.error->code() != code) return told("another error");
    const std::string text = rank.error->what();
    if (text.find(name) == std::string::npos) return told("the mutated rank is not named");
    const std::size_t mine = text.find(" called ");
    const bool both_sides =
        mine != std::string::npos && text.find(" called ", mine + 1) != std::string::npos;
    if (foretold == Outcome::mismatch && !both_sides) return told("not both sides are shown");
    if (foretold != Outcome::timeout) continue;
    const std::string missing =
        missing_calls(text, mutation.layout, mutation.rank,
                      told_before.last_calls[mutation.rank.index()], end.proved);
    if (!missing.empty()) return told(missing);
  }
  return "";
}

const char* to_string(Unchecked end) noexcept {
  constexpr std::array<const char*, 4> names = {"harmless", "silent", "hang", "guarded"};
  return names[static_cast<std::size_t>(end)];
}

Unchecked classify(const RunEnd& end) {
  const Error* const error = end.first_error();
  if (error == nullptr) return end.wrong() == 0 ? Unchecked::harmless : Unchecked::silent;
  return error->code() == ErrorCode::timeout ? Unchecked::hang : Unchecked::guarded;
}

}  // namespace cohort::sim
