#include "backend/host/host_backend.hpp"

#include <algorithm>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backend/domain_fixture.hpp"
#include "base/system_limits.hpp"

namespace cohort::host {
namespace {

using namespace std::chrono_literals;
using test::RankMode;
using testing::HasSubstr;

class HostBackendRanks : public RankTest {};

TEST_P(HostBackendRanks, ShareArenasThatAreZeroedAndCounted) {
  static constexpr std::size_t kBytes = 3 * 4096;
  const auto results = run([](World& world) -> std::string {
    Domain& domain = world.domain();
    HostBackend backend(domain.shared_from_this());
    const std::unique_ptr<Arena> arena = backend.allocate(kBytes);
    EXPECT_EQ(arena->bytes(), kBytes);
    EXPECT_EQ(arena->measured_bytes(), kBytes) << "reserved before anybody touched it";
    EXPECT_TRUE(std::all_of(arena->local(), arena->local() + kBytes,
                            [](std::byte value) { return value == std::byte{0}; }));
    std::fill_n(arena->local(), kBytes, std::byte(world.rank().index() + 1));
    arena->map_peers(domain.deadline_after(60s));
    EXPECT_EQ(arena->registrations(), world.size());
    EXPECT_EQ(arena->of(world.rank()), arena->local());
    for (std::uint32_t rank = 0; rank < world.size(); ++rank) {
      const std::byte* const peer = arena->of(WorldRank{rank});
      EXPECT_EQ(peer[0], std::byte(rank + 1));
      EXPECT_EQ(peer[kBytes - 1], std::byte(rank + 1));
    }
    domain.all_gather({}, "done", domain.deadline_after(60s));
    return {};
  });
  expect_no_errors(results);
}

TEST_P(HostBackendRanks, AddSegmentsBehindTheFirstWithoutMovingIt) {
  const auto results = run([](World& world) -> std::string {
    Domain& domain = world.domain();
    HostBackend backend(domain.shared_from_this());
    const std::unique_ptr<Arena> arena = backend.allocate(4096, 8 * 4096);
    arena->map_peers(domain.deadline_after(60s));
    std::vector<std::byte*> bases;
    for (std::uint32_t rank = 0; rank < world.size(); ++rank) {
      bases.push_back(arena->of(WorldRank{rank}));
    }
    for (std::size_t pages : {1U, 2U, 3U}) {
      // An attempt that nobody maps, given back: the next one gets its addresses.
      arena->extend(pages * 4096);
      arena->shrink_to(arena->bytes() - pages * 4096);
      const std::size_t begin = arena->bytes();
      arena->extend(pages * 4096);
      EXPECT_EQ(arena->bytes(), begin + pages * 4096);
      EXPECT_EQ(arena->measured_bytes(), arena->bytes());
      EXPECT_EQ(arena->local()[begin], std::byte{0});
      std::fill_n(arena->local() + begin, pages * 4096, std::byte(world.rank().index() + pages));
      arena->map_peers(domain.deadline_after(60s));
      for (std::uint32_t rank = 0; rank < world.size(); ++rank) {
        EXPECT_EQ(arena->of(WorldRank{rank}), bases[rank]);
        EXPECT_EQ(bases[rank][begin], std::byte(rank + pages));
        EXPECT_EQ(bases[rank][arena->bytes() - 1], std::byte(rank + pages));
      }
      domain.all_gather({}, "seen", domain.deadline_after(60s));
    }
    EXPECT_THROW(arena->extend(2 * 4096), Error) << "past the reserved addresses";
    domain.all_gather({}, "done", domain.deadline_after(60s));
    return {};
  });
  expect_no_errors(results);
}

INSTANTIATE_TEST_SUITE_P(Ranks, HostBackendRanks, testing::ValuesIn(kAllSettings), name_of_setting);

TEST(HostBackend, RanksOfOneProcessShareOneMapping) {
  std::vector<std::byte*> seen(3);
  expect_no_errors(test::run_ranks(RankMode::threads, 3, [&](World& world) -> std::string {
    Domain& domain = world.domain();
    HostBackend backend(domain.shared_from_this());
    const std::unique_ptr<Arena> arena = backend.allocate(4096);
    arena->map_peers(domain.deadline_after(60s));
    seen[world.rank().index()] = arena->of(WorldRank{1});
    domain.all_gather({}, "done", domain.deadline_after(60s));
    return {};
  }));
  EXPECT_EQ(seen[0], seen[1]);
  EXPECT_EQ(seen[0], seen[2]);
}

TEST(HostBackend, RefusesMoreThanIsLeftBeforeTakingAny) {
  const auto available = available_memory();
  ASSERT_TRUE(available);
  const std::size_t too_much = (available->bytes / 4096 + 1024) * 4096;
  const auto results = test::run_ranks(RankMode::threads, 1, [&](World& world) -> std::string {
    HostBackend(world.domain().shared_from_this()).allocate(too_much);
    return {};
  });
  ASSERT_TRUE(results[0].error);
  EXPECT_EQ(results[0].error->code(), ErrorCode::out_of_memory);
  EXPECT_THAT(results[0].error->what(), HasSubstr("leaves"));
  EXPECT_THAT(results[0].error->what(), HasSubstr("asks for"));
}

TEST(HostBackend, CountsInRanksThatAllocateAtTheSameTime) {
  const auto available = available_memory();
  ASSERT_TRUE(available);
  // Fits once, not twice. The peers' announcement stands for their allocation.
  const std::size_t most = available->bytes / 4096 / 10 * 7 * 4096;
  const auto results = test::run_ranks(RankMode::threads, 2, [&](World& world) -> std::string {
    Domain& domain = world.domain();
    if (world.rank().index() == 1) domain.set_pending_bytes(most);
    domain.all_gather({}, "announced", domain.deadline_after(60s));
    if (world.rank().index() == 0) HostBackend(domain.shared_from_this()).allocate(most);
    return {};
  });
  ASSERT_TRUE(results[0].error);
  EXPECT_EQ(results[0].error->code(), ErrorCode::out_of_memory);
}

TEST(HostBackend, RefusesSizesThatAreNoMultipleOfTheGranule) {
  const auto results = test::run_ranks(RankMode::threads, 1, [&](World& world) -> std::string {
    HostBackend backend(world.domain().shared_from_this());
    EXPECT_THROW(backend.allocate(0), Error);
    EXPECT_THROW(backend.allocate(100), Error);
    return {};
  });
  expect_no_errors(results);
}

TEST(HostBackend, LeavesNothingMappedBehind) {
  const auto results = test::run_ranks(RankMode::threads, 2, [&](World& world) -> std::string {
    Domain& domain = world.domain();
    HostBackend backend(domain.shared_from_this());
    backend.allocate(4096)->map_peers(domain.deadline_after(60s));
    return {};
  });
  expect_no_errors(results);
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    EXPECT_EQ(line.find("memfd:cohort"), std::string::npos) << line;
  }
}

}  // namespace
}  // namespace cohort::host
