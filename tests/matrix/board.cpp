#include "matrix/board.hpp"

#include <algorithm>
#include <span>
#include <string>
#include <thread>

namespace cohort::matrix {
namespace {

using Gathered = std::vector<std::vector<std::byte>>;

Gathered gather(Board& board, std::size_t world, const std::vector<std::uint32_t>& members,
                std::uint32_t rank, std::span<const std::byte> mine,
                Bootstrap::TimePoint deadline) {
  RankCell& own = board.ranks[rank];
  if (mine.size() > own.contribution[world].size()) {
    throw Error(ErrorCode::usage, "a message that does not fit the board");
  }
  std::ranges::copy(mine, own.contribution[world].begin());
  own.gathered[world].store(static_cast<std::uint32_t>(mine.size()) + 1);
  Gathered all;
  for (std::uint32_t index = 0; index < members.size(); ++index) {
    const RankCell& cell = board.ranks[members[index]];
    const std::string name = "rank " + std::to_string(index);
    while (cell.gathered[world].load() == 0) {
      if (cell.ended.load() != 0 && cell.gathered[world].load() == 0) {
        throw Error(ErrorCode::peer_failed, name + " ended before it had joined", WorldRank{index},
                    "join");
      }
      if (std::chrono::steady_clock::now() >= deadline) {
        throw Error(ErrorCode::timeout, name + " did not join in time", WorldRank{index}, "join");
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    const auto* begin = cell.contribution[world].data();
    all.emplace_back(begin, begin + (cell.gathered[world].load() - 1));
  }
  return all;
}

}  // namespace

std::unique_ptr<Bootstrap> meet_over(Board& board, std::size_t world,
                                     std::vector<std::uint32_t> members, std::uint32_t rank) {
  const auto self = std::ranges::find(members, rank);
  const WorldRank index{static_cast<std::uint32_t>(self - members.begin())};
  const auto size = static_cast<std::uint32_t>(members.size());
  return Bootstrap::from_callback(
      index, size,
      [&board, world, members = std::move(members), rank](std::span<const std::byte> mine,
                                                          Bootstrap::TimePoint deadline) {
        return gather(board, world, members, rank, mine, deadline);
      });
}

}  // namespace cohort::matrix
