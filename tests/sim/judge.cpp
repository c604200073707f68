#include "sim/judge.hpp"

#include <array>

namespace cohort::sim {

std::string disagreement(const Mutation& mutation, Outcome foretold, const RunEnd& end) {
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
