#include "heap/scope_history.hpp"

#include <algorithm>
#include <cstring>
#include <map>

#include <cohort/error.hpp>

#include "heap/rank_list.hpp"

namespace cohort::heap {
namespace {

constexpr std::uint64_t rotate(std::uint64_t value, unsigned bits) noexcept {
  return value << bits | value >> (64 - bits);
}

/// Odd multipliers and rotations: every bit of a step reaches all bits of the digest.
constexpr std::uint64_t mixed(std::uint64_t digest, std::uint64_t word) noexcept {
  digest = rotate(digest ^ word, 27) * 0x9E3779B97F4A7C15ULL;
  return digest ^ digest >> 32U;
}

}  // namespace

std::string describe(const ScopeStep& step) {
  std::string text = step.kind == ScopeStep::Kind::allocate ? "allocate " : "release ";
  text += std::to_string(step.bytes) + " bytes for " + std::string(to_string(step.group));
  switch (step.where) {
    case ScopeStep::Where::in_pool:
      return text + " at offset " + std::to_string(step.offset) + " of pool " +
             std::to_string(step.pool);
    case ScopeStep::Where::over_budget:
      return text + " over the budget of pool " + std::to_string(step.pool);
    case ScopeStep::Where::disabled: return text + " in ordinary memory";
  }
  return text;
}

void ScopeHistory::fold(const ScopeStep& step) noexcept {
  kept_[summary_.step_count % kKeptCount] = {step, summary_.digest};
  std::array<std::uint64_t, 3> words{};
  std::memcpy(words.data(), &step, sizeof(step));
  for (const std::uint64_t word : words) summary_.digest = mixed(summary_.digest, word);
  ++summary_.step_count;
}

std::vector<std::byte> ScopeHistory::encode() const {
  const std::size_t kept_count = std::min<std::size_t>(summary_.step_count, kKeptCount);
  std::vector<std::byte> bytes(sizeof(Summary) + kept_count * sizeof(Kept));
  std::memcpy(bytes.data(), &summary_, sizeof(Summary));
  std::byte* end = bytes.data() + sizeof(Summary);
  for (std::uint64_t step = summary_.step_count - kept_count; step < summary_.step_count; ++step) {
    std::memcpy(end, &kept_[step % kKeptCount], sizeof(Kept));
    end += sizeof(Kept);
  }
  return bytes;
}

namespace {

/// One rank's history, read back.
template <typename Kept>
struct Decoded {
  ScopeHistory::Summary summary;
  std::vector<Kept> kept;

  std::uint64_t first_kept() const { return summary.step_count - kept.size(); }
  const Kept* at(std::uint64_t step) const {
    return step < summary.step_count ? &kept[step - first_kept()] : nullptr;
  }
  std::uint64_t digest_before(std::uint64_t step) const {
    const Kept* found = at(step);
    return found == nullptr ? summary.digest : found->digest_before;
  }
};

template <typename Kept>
Decoded<Kept> decode(const std::vector<std::byte>& bytes) {
  Decoded<Kept> history;
  const std::size_t size = bytes.size();
  const bool whole =
      size >= sizeof(history.summary) && (size - sizeof(history.summary)) % sizeof(Kept) == 0;
  if (whole) {
    std::memcpy(&history.summary, bytes.data(), sizeof(history.summary));
    history.kept.resize((size - sizeof(history.summary)) / sizeof(Kept));
  }
  if (!whole || history.kept.size() > history.summary.step_count) {
    throw Error(ErrorCode::corrupt, "a rank sent no history of its scopes", std::nullopt, "verify");
  }
  if (!history.kept.empty()) {
    std::memcpy(static_cast<void*>(history.kept.data()), bytes.data() + sizeof(history.summary),
                history.kept.size() * sizeof(Kept));
  }
  return history;
}

}  // namespace

std::optional<std::string> ScopeHistory::first_difference(
    std::span<const std::vector<std::byte>> histories) {
  std::vector<Decoded<Kept>> ranks;
  std::uint64_t first = 0;
  std::uint64_t end = 0;
  for (const auto& bytes : histories) {
    ranks.push_back(decode<Kept>(bytes));
    first = std::max(first, ranks.back().first_kept());
    end = std::max(end, ranks.back().summary.step_count);
  }
  std::string before;
  const std::uint64_t shortest =
      std::min_element(ranks.begin(), ranks.end(), [](const auto& left, const auto& right) {
        return left.summary.step_count < right.summary.step_count;
      })->summary.step_count;
  if (first > shortest) {
    before = "some ranks are more than " + std::to_string(kKeptCount) + " steps ahead; ";
    first = shortest;
  } else {
    const std::uint64_t digest = ranks.front().digest_before(first);
    const bool equal = std::all_of(ranks.begin(), ranks.end(), [&](const auto& rank) {
      return rank.digest_before(first) == digest;
    });
    if (!equal) before = "they parted before step " + std::to_string(first) + ", the first kept; ";
  }
  for (std::uint64_t step = first; step < end; ++step) {
    std::map<std::string, std::vector<std::size_t>> doers;
    for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
      if (step < ranks[rank].first_kept()) {
        doers["a step it no longer keeps"].push_back(rank);
        continue;
      }
      const Kept* kept = ranks[rank].at(step);
      doers[kept == nullptr ? "no such step" : describe(kept->step)].push_back(rank);
    }
    if (doers.size() < 2) continue;
    std::string text =
        "the ranks' scopes differ: " + before + "step " + std::to_string(step) + " is";
    const char* separator = " ";
    for (const auto& [what, who] : doers) {
      text += separator + ("[" + what + "] on " + rank_list(who));
      separator = ", ";
    }
    return text;
  }
  if (before.empty()) return std::nullopt;
  return "the ranks' scopes differ: " + before + "the steps kept are equal";
}

}  // namespace cohort::heap
