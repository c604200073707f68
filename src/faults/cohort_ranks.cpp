#include "faults/cohort_ranks.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <sstream>
#include <thread>

#include "base/bytes.hpp"
#include "base/clock.hpp"
#include "faults/shared_region.hpp"

namespace cohort::faults {
namespace {

/// All-gather of small messages over shared memory: the control plane that ranks meet over. Round r
/// uses mails[r % 2]; a rank is two rounds ahead only after all have read the first of them.
struct MeetingPlace {
  struct Mail {
    std::uint32_t bytes = 0;
    std::array<std::byte, 4096> text{};
  };
  struct Seat {
    std::atomic<std::uint32_t> rounds{0};
    std::array<Mail, 2> mails;
  };
  std::array<Seat, kRanksMax> seats;

  std::vector<std::vector<std::byte>> all_gather(std::uint32_t self, std::uint32_t count,
                                                 std::span<const std::byte> mine,
                                                 Bootstrap::TimePoint deadline) {
    const std::uint32_t round = seats[self].rounds.load() + 1;
    Mail& mail = seats[self].mails[round % 2];
    if (mine.size() > mail.text.size()) {
      throw Error(ErrorCode::system, "a message of the bootstrap is too long", std::nullopt,
                  "join");
    }
    mail.bytes = static_cast<std::uint32_t>(mine.size());
    std::copy(mine.begin(), mine.end(), mail.text.begin());
    seats[self].rounds.store(round);
    std::vector<std::vector<std::byte>> all;
    for (std::uint32_t rank = 0; rank < count; ++rank) {
      while (seats[rank].rounds.load() < round) {
        if (Clock::now() > deadline) {
          throw Error(ErrorCode::timeout, "rank " + std::to_string(rank) + " did not come",
                      WorldRank{rank}, "join");
        }
        std::this_thread::sleep_for(std::chrono::microseconds(100));
      }
      const Mail& other = seats[rank].mails[round % 2];
      all.emplace_back(other.text.begin(), other.text.begin() + other.bytes);
    }
    return all;
  }
};

float contribution(std::uint32_t rank, float scale) {
  return static_cast<float>(1U << rank) * scale;
}

/// The job's one error, without what this rank was at when it heard of it.
std::string error_text(const Error& error) {
  const std::string text = error.what();
  const std::size_t own = text.rfind(" (rank ");
  const bool has_own = own != std::string::npos && text.find(" was ", own) != std::string::npos;
  return std::string(to_string(error.code())) + ": " + (has_own ? text.substr(0, own) : text);
}

std::string whole_text(const RankEnd& end) {
  if (end.kind == RankEnd::Kind::hung) return "stuck in " + end.doing;
  if (end.kind == RankEnd::Kind::died) return "died";
  if (!end.wrong.empty()) return end.wrong;
  if (end.error) return error_text(*end.error);
  return end.said;
}

}  // namespace

Layout layout_of(const Setting& setting) {
  return Layout({.tp = setting.ranks, .attn_cp = 2});
}

SlotSpec rows_for(std::vector<GroupKind> groups, std::uint32_t depth) {
  return {.groups = std::move(groups),
          .dtype = DType::f32,
          .rows_max = kElements,
          .row_elements = 1,
          .depth = depth};
}

WaitLimits limits_of(const Setting& setting, std::chrono::milliseconds steady) {
  return {.setup = std::chrono::seconds(10), .steady = steady, .scale = setting.scale};
}

std::vector<RankEnd> run_cohort(const Setting& setting, const WaitLimits& limits,
                                const std::function<void(World&, Rank&)>& body) {
  SharedRegion region;
  MeetingPlace& meeting = region.make<MeetingPlace>();
  using std::chrono::milliseconds;
  const milliseconds patience(static_cast<milliseconds::rep>(25'000 * setting.scale));
  return run_ranks(setting.ranks, {.idle = patience, .total = patience}, [&](Rank& rank) {
    rank.doing("join");
    World world =
        World::join(Bootstrap::from_callback(
                        WorldRank{rank.index()}, rank.count(),
                        [&](std::span<const std::byte> mine, Bootstrap::TimePoint deadline) {
                          return meeting.all_gather(rank.index(), rank.count(), mine, deadline);
                        }),
                    limits);
    rank.doing("its program");
    body(world, rank);
  });
}

std::span<const float> floats(const Buffer& rows) {
  return {rows.as<float>(), rows.rows_max() * rows.row_elements()};
}

void fill(const Buffer& rows, std::uint32_t rank, float scale) {
  std::fill_n(rows.as<float>(), floats(rows).size(), contribution(rank, scale));
}

float wanted_sum(const Group& group, float scale) {
  float sum = 0;
  for (const WorldRank rank : group.ranks()) sum += contribution(rank.index(), scale);
  return sum;
}

Verdict reduce(Rank& rank, const Group& group, const Buffer& rows, const std::string& what,
               float scale) {
  fill(rows, rank.index(), scale);
  const Verdict verdict = group.all_reduce(rows.elements(floats(rows).size()), ReduceOp::sum);
  rank.expect(what, floats(rows), wanted_sum(group, scale));
  return verdict;
}

std::string refusal(Rank& rank, const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    if (error.code() == ErrorCode::usage) return error.what();
    throw;
  }
  rank.wrong("a call that should have been refused");
  return "";
}

std::string describe(const Verdict& verdict) {
  return std::string(to_string(verdict.path)) + ", " + std::string(to_string(verdict.reason)) +
         ", " + format_bytes(verdict.copied_bytes) + " copied";
}

Observation judge_right(std::span<const RankEnd> ends, Outcome outcome) {
  const bool right = std::all_of(ends.begin(), ends.end(), [](const RankEnd& end) {
    return end.kind == RankEnd::Kind::finished && end.wrong_values == 0 && !end.error;
  });
  return {.outcome = right ? outcome : Outcome::broken,
          .text = by_text(ends, whole_text),
          .as_said = right};
}

Observation judge_ended(std::span<const RankEnd> ends, ErrorCode code,
                        std::span<const std::string> parts, std::optional<std::uint32_t> spared) {
  bool kept = true;
  for (std::uint32_t rank = 0; rank < ends.size(); ++rank) {
    const RankEnd& end = ends[rank];
    if (end.wrong_values != 0) kept = false;
    if (rank == spared) continue;
    if (end.kind != RankEnd::Kind::finished || !end.error || end.error->code() != code) {
      kept = false;
      continue;
    }
    const std::string text = end.error->what();
    for (const std::string& part : parts) kept = kept && text.find(part) != std::string::npos;
  }
  return {.outcome = kept ? Outcome::ended : Outcome::broken,
          .text = by_text(ends, whole_text),
          .as_said = kept};
}

}  // namespace cohort::faults
