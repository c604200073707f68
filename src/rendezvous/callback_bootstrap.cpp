// Ranks that meet over a control plane of the caller's. Its answer is checked where it comes in: an
// all-gather that returns too soon or in another order would otherwise show as a join that hangs.

#include <algorithm>
#include <string>
#include <utility>

#include <cohort/bootstrap.hpp>
#include <cohort/error.hpp>

namespace cohort {
namespace {

using Gathered = std::vector<std::vector<std::byte>>;

[[noreturn]] void refuse(const std::string& message, WorldRank rank) {
  throw Error(ErrorCode::usage, message, rank, "join");
}

class CallbackBootstrap final : public Bootstrap {
 public:
  CallbackBootstrap(WorldRank rank, std::uint32_t world_size, AllGather all_gather)
      : rank_(rank), world_size_(world_size), all_gather_(std::move(all_gather)) {}

  WorldRank rank() const noexcept override { return rank_; }
  std::uint32_t world_size() const noexcept override { return world_size_; }

  Gathered all_gather(std::span<const std::byte> mine, TimePoint deadline) override {
    Gathered all = all_gather_(mine, deadline);
    if (all.size() != world_size_) {
      refuse("the bootstrap's all-gather returned " + std::to_string(all.size()) +
                 " entries in a world of " + std::to_string(world_size_),
             rank_);
    }
    if (!std::ranges::equal(all[rank_.index()], mine)) {
      refuse("the bootstrap's all-gather returned other bytes for rank " +
                 std::to_string(rank_.index()) +
                 " than that rank gave; entries must be in the order of ranks",
             rank_);
    }
    return all;
  }

 private:
  WorldRank rank_;
  std::uint32_t world_size_;
  AllGather all_gather_;
};

}  // namespace

std::unique_ptr<Bootstrap> Bootstrap::from_callback(WorldRank rank, std::uint32_t world_size,
                                                    AllGather all_gather) {
  if (!all_gather) refuse("the bootstrap's all-gather is an empty function", rank);
  if (rank.index() >= world_size) {
    refuse("rank " + std::to_string(rank.index()) + " in a world of " + std::to_string(world_size),
           rank);
  }
  return std::make_unique<CallbackBootstrap>(rank, world_size, std::move(all_gather));
}

}  // namespace cohort
