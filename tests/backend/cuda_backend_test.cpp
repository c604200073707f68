#include "backend/cuda/cuda_backend.hpp"

#include <array>
#include <numeric>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backend/domain_fixture.hpp"
#include "support/fake_cuda_memory.hpp"

namespace cohort::cuda {
namespace {

using namespace std::chrono_literals;
using host::Domain;
using test::fake_cuda;
using test::RankMode;
using testing::HasSubstr;

constexpr std::size_t kGranule = test::kFakeGranuleBytes;

const Api& fake_api() {
  static const Api api = [] {
    Api made = {};
    test::set_memory_functions(made);
    return made;
  }();
  return api;
}

std::shared_ptr<OpenDevice> open_device(WorldRank rank) {
  // Two ranks on each device, so that memory passes within a device too.
  return OpenDevice::open(fake_api(), rank.index() / 2, rank);
}

void expect_nothing_held() {
  EXPECT_EQ(fake_cuda().open_devices, 0);
  EXPECT_EQ(fake_cuda().handles, 0);
  EXPECT_EQ(fake_cuda().taken_bytes, 0);
  EXPECT_EQ(fake_cuda().mapped_bytes, 0);
  EXPECT_EQ(fake_cuda().reserved_bytes, 0);
}

std::uint32_t word_at(const OpenDevice& device, Address address) {
  std::uint32_t word = 0;
  device.read(&word, address, sizeof word);
  return word;
}

class CudaBackendRanks : public host::RankTest {
 protected:
  ~CudaBackendRanks() override { expect_nothing_held(); }
};

TEST_P(CudaBackendRanks, ShareArenasThatAreZeroedCountedAndEquallySpaced) {
  const auto results = run([](World& world) -> std::string {
    Domain& domain = world.domain();
    const auto device = open_device(world.rank());
    CudaArena arena(domain.shared_from_this(), device, 2 * kGranule, 3 * kGranule - 5);
    EXPECT_EQ(arena.bytes(), 2 * kGranule);
    EXPECT_EQ(arena.measured_bytes(), 2 * kGranule);
    EXPECT_EQ(arena.stride_bytes(), 3 * kGranule) << "whole granules";
    EXPECT_EQ(arena.registrations(), 1);
    const Address own = arena.base() + world.rank().index() * arena.stride_bytes();
    EXPECT_EQ(OpenDevice::host(arena.local()), own);
    EXPECT_EQ(word_at(*device, own), 0);
    EXPECT_EQ(word_at(*device, own + 2 * kGranule - 4), 0);
    device->fill(own, world.rank().index() + 1, 2 * kGranule);
    arena.map_peers(domain.deadline_after(60s));
    EXPECT_EQ(arena.registrations(), world.size());
    for (std::uint32_t rank = 0; rank < world.size(); ++rank) {
      const Address peer = arena.base() + rank * arena.stride_bytes();
      EXPECT_EQ(OpenDevice::host(arena.of(WorldRank{rank})), peer);
      EXPECT_EQ(word_at(*device, peer), rank + 1);
      EXPECT_EQ(word_at(*device, peer + 2 * kGranule - 4), rank + 1);
    }
    domain.all_gather({}, "read", domain.deadline_after(60s));
    // Everybody stores a word into everybody's arena.
    const std::uint32_t word = 100 + world.rank().index();
    for (std::uint32_t rank = 0; rank < world.size(); ++rank) {
      device->write(arena.address_of(WorldRank{rank}) + 4 * world.rank().index(), &word,
                    sizeof word);
    }
    domain.all_gather({}, "written", domain.deadline_after(60s));
    for (std::uint32_t rank = 0; rank < world.size(); ++rank) {
      EXPECT_EQ(word_at(*device, own + 4 * rank), 100 + rank);
    }
    domain.all_gather({}, "done", domain.deadline_after(60s));
    return {};
  });
  expect_no_errors(results);
}

TEST_P(CudaBackendRanks, AddSegmentsBehindTheFirstWithoutMovingIt) {
  const auto results = run([](World& world) -> std::string {
    Domain& domain = world.domain();
    const auto device = open_device(world.rank());
    CudaBackend backend(domain.shared_from_this(), device);
    EXPECT_EQ(backend.granule_bytes(), kGranule);
    const std::unique_ptr<Arena> arena = backend.allocate(kGranule, 6 * kGranule);
    arena->map_peers(domain.deadline_after(60s));
    std::byte* const base = arena->of(WorldRank{0});
    for (std::size_t granules : {1U, 2U}) {
      // An attempt that nobody maps, given back: the next one gets its addresses.
      arena->extend(granules * kGranule);
      arena->shrink_to(arena->bytes() - granules * kGranule);
      const std::size_t begin = arena->bytes();
      arena->extend(granules * kGranule);
      EXPECT_EQ(arena->bytes(), begin + granules * kGranule);
      EXPECT_EQ(arena->measured_bytes(), arena->bytes());
      const Address added = OpenDevice::host(arena->local()) + begin;
      EXPECT_EQ(word_at(*device, added), 0);
      const auto word = static_cast<std::uint32_t>(world.rank().index() + granules);
      device->fill(added, word, granules * kGranule);
      arena->map_peers(domain.deadline_after(60s));
      EXPECT_EQ(arena->of(WorldRank{0}), base);
      for (std::uint32_t rank = 0; rank < world.size(); ++rank) {
        const Address peer = OpenDevice::host(arena->of(WorldRank{rank}));
        EXPECT_EQ(word_at(*device, peer + begin), rank + granules);
        EXPECT_EQ(word_at(*device, peer + arena->bytes() - 4), rank + granules);
      }
      domain.all_gather({}, "seen", domain.deadline_after(60s));
    }
    EXPECT_THROW(arena->extend(3 * kGranule), Error) << "past the reserved addresses";
    EXPECT_THROW(arena->extend(100), Error) << "no whole granule";
    domain.all_gather({}, "done", domain.deadline_after(60s));
    arena->shrink_to(kGranule);
    EXPECT_EQ(arena->bytes(), kGranule);
    return {};
  });
  expect_no_errors(results);
}

INSTANTIATE_TEST_SUITE_P(All, CudaBackendRanks,
                         testing::Values(host::RankSetting{RankMode::threads, 1},
                                         host::RankSetting{RankMode::threads, 2},
                                         host::RankSetting{RankMode::threads, 5},
                                         host::RankSetting{RankMode::processes, 2},
                                         host::RankSetting{RankMode::processes, 3}),
                         host::name_of_setting);

class CudaBackendFaults : public testing::Test {
 protected:
  ~CudaBackendFaults() override {
    fake_cuda().failing = nullptr;
    fake_cuda().island_bit = 0;
    fake_cuda().memory_bytes = std::size_t{1} << 30;
    expect_nothing_held();
  }
};

TEST_F(CudaBackendFaults, NameTheGpusThatCannotReachEachOther) {
  fake_cuda().island_bit = 1;  // GPU 0 and 1
  const auto results = test::run_ranks(RankMode::threads, 3, [](World& world) -> std::string {
    const auto device = open_device(world.rank());
    CudaArena arena(world.domain().shared_from_this(), device, kGranule, kGranule);
    arena.map_peers(world.domain().deadline_after(60s));
    return {};
  });
  for (const auto& result : results) {
    ASSERT_TRUE(result.error);
    EXPECT_EQ(result.error->code(), ErrorCode::unsupported);
    EXPECT_THAT(result.error->what(), HasSubstr("has no peer access to GPU 0000:0"));
  }
  EXPECT_THAT(results[2].error->what(), HasSubstr("GPU 1 (fake, 0000:02:00.0) of rank 2"));
}

TEST_F(CudaBackendFaults, RefuseArenasOfDifferentSizes) {
  const auto results = test::run_ranks(RankMode::threads, 2, [](World& world) -> std::string {
    const auto device = open_device(world.rank());
    const std::size_t bytes = (1 + world.rank().index()) * kGranule;
    CudaArena arena(world.domain().shared_from_this(), device, bytes, 2 * kGranule);
    arena.map_peers(world.domain().deadline_after(60s));
    return {};
  });
  for (const auto& result : results) {
    ASSERT_TRUE(result.error);
    EXPECT_EQ(result.error->code(), ErrorCode::mismatch);
    EXPECT_THAT(result.error->what(), HasSubstr("has an arena of"));
  }
}

TEST_F(CudaBackendFaults, GiveBackWhatTheyTookWhenTheRestFails) {
  for (const char* const function :
       {"open", "reserve", "create", "map", "fill", "export_fd", "import_fd"}) {
    fake_cuda().failing = function;
    const auto results = test::run_ranks(RankMode::threads, 2, [](World& world) -> std::string {
      const auto device = open_device(world.rank());
      CudaArena arena(world.domain().shared_from_this(), device, kGranule, kGranule);
      arena.map_peers(world.domain().deadline_after(60s));
      return {};
    });
    bool named = false;
    for (const auto& result : results) {
      ASSERT_TRUE(result.error) << function;
      // A rank that fails first leaves; the other may hear of that.
      named =
          named || std::string(result.error->what()).find("as the test wants") != std::string::npos;
    }
    EXPECT_TRUE(named) << function;
    expect_nothing_held();
  }
}

TEST_F(CudaBackendFaults, SayHowMuchMemoryThereWasNot) {
  fake_cuda().memory_bytes = 3 * kGranule;
  const auto results = test::run_ranks(RankMode::threads, 1, [](World& world) -> std::string {
    const auto device = open_device(world.rank());
    CudaArena arena(world.domain().shared_from_this(), device, 2 * kGranule, 8 * kGranule);
    try {
      arena.extend(2 * kGranule);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::out_of_memory);
      EXPECT_THAT(error.what(), HasSubstr("taking 128.0 KiB of GPU 0"));
    }
    EXPECT_EQ(arena.bytes(), 2 * kGranule) << "nothing has changed";
    arena.extend(kGranule);
    return {};
  });
  expect_no_errors(results);
}

}  // namespace
}  // namespace cohort::cuda
