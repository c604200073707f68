// Memory of real devices: what tests/backend shows over fake ones, and what only a GPU can show.

#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backend/cuda/cuda_backend.hpp"
#include "backend/cuda/device.hpp"
#include "gpu/devices.hpp"
#include "gpu/spin.hpp"
#include "support/ranks.hpp"

namespace cohort::cuda {
namespace {

using namespace std::chrono_literals;
using test::RankMode;
using testing::HasSubstr;

class GpuMemory : public GpuTest {};

bool is_ok(const Status& status) {
  return status.code == Status::Code::ok;
}

// --- devices
// --------------------------------------------------------------------------------------

TEST_F(GpuMemory, DescribesDevicesAndTheirLinks) {
  std::uint32_t count = 0;
  ASSERT_TRUE(is_ok(api_->device_count(&count)));
  for (std::uint32_t device = 0; device < count; ++device) {
    DeviceFacts facts = {};
    const Status status = api_->describe(device, &facts);
    ASSERT_TRUE(is_ok(status)) << status.text;
    EXPECT_GT(std::string(facts.name).size(), 0U);
    EXPECT_THAT(facts.pci, testing::ContainsRegex("^[0-9A-Fa-f]+:[0-9A-Fa-f]+:[0-9A-Fa-f]+\\.0$"));
    EXPECT_GT(facts.memory_bytes, std::uint64_t{1} << 30);
    EXPECT_GE(facts.compute_major, 8U);
    EXPECT_GT(facts.multiprocessors, 0U);
    EXPECT_GE(facts.threads_per_multiprocessor, 1024U);
    EXPECT_GE(facts.driver_version, 12000U);
    for (std::uint32_t peer = 0; peer < count; ++peer) {
      LinkFacts link = {};
      const Status asked = api_->describe_link(device, peer, &link);
      ASSERT_TRUE(is_ok(asked)) << asked.text;
      if (device == peer) {
        EXPECT_TRUE(link.can_access && link.native_atomics);
      }
      std::cout << facts.pci << " -> " << peer << ": access " << link.can_access << ", atomics "
                << link.native_atomics << ", rank " << link.performance_rank << "\n";
    }
  }
  DeviceFacts facts = {};
  const Status none = api_->describe(count, &facts);
  EXPECT_EQ(none.code, Status::Code::usage);
  EXPECT_THAT(none.text, HasSubstr("there is no CUDA device"));
}

TEST_F(GpuMemory, NamesTheCallThatFailed) {
  const auto device = OpenDevice::open(*api_, 0);
  MemoryHandle memory = 0;
  Status status = api_->create(device->handle(), std::size_t{1} << 50, &memory);
  EXPECT_EQ(status.code, Status::Code::out_of_memory) << status.text;
  EXPECT_THAT(status.text, HasSubstr("cuMemCreate"));
  const int foreign = ::memfd_create("no gpu", MFD_CLOEXEC);
  status = api_->import_fd(device->handle(), foreign, &memory);
  ::close(foreign);
  EXPECT_EQ(status.code, Status::Code::failed);
  EXPECT_THAT(status.text, HasSubstr("cuMemImportFromShareableHandle"));
  status = api_->fill(device->handle(), 4096, 0, 3);
  EXPECT_EQ(status.code, Status::Code::usage);
}

TEST_F(GpuMemory, OpensADeviceManyTimesAndGivesEverythingBack) {
  const auto held = OpenDevice::open(*api_, 0);
  for (int i = 0; i < 3; ++i) {
    const auto device = OpenDevice::open(*api_, 0);
    const std::size_t bytes = 64 * device->granule_bytes();
    for (int round = 0; round < 20; ++round) {
      // 20 x 64 granules are more than nothing; what leaks would show in `create` of a small card.
      const DeviceRange range(device, bytes);
      const DeviceMemory memory = DeviceMemory::create(device, bytes);
      range.map(0, bytes, memory, WorldRank{0});
      device->fill(range.base(), 0xabcd1234, bytes);
      std::uint32_t word = 0;
      device->read(&word, range.base() + bytes - 4, sizeof word);
      EXPECT_EQ(word, 0xabcd1234);
      range.unmap(0, bytes);
    }
  }
}

// --- arenas
// ---------------------------------------------------------------------------------------

struct Placing {
  RankMode mode;
  std::uint32_t ranks;
  std::uint32_t devices;
};

void PrintTo(const Placing& placing, std::ostream* stream) {
  *stream << placing.ranks << " " << test::to_string(placing.mode) << " on " << placing.devices;
}

class GpuArenas : public testing::TestWithParam<Placing> {
 protected:
  void SetUp() override {
    std::string missing;
    if (find_devices(GetParam().devices, missing) == nullptr) GTEST_SKIP() << missing;
  }
};

std::vector<std::uint32_t> pattern(std::uint32_t seed, std::size_t words) {
  std::vector<std::uint32_t> made(words);
  for (std::size_t i = 0; i < words; ++i) {
    made[i] = (seed * 2654435761U) ^ static_cast<std::uint32_t>(i * 40503U);
  }
  return made;
}

void exchange_patterns(World& world, const OpenDevice& device, const CudaArena& arena,
                       std::size_t offset, std::size_t bytes) {
  host::Domain& domain = world.domain();
  const std::size_t words = bytes / sizeof(std::uint32_t);
  const std::uint32_t self = world.rank().index();
  std::vector<std::uint32_t> read(words);
  const Address own = arena.address_of(world.rank()) + offset;
  device.read(read.data(), own, bytes);
  EXPECT_EQ(read, std::vector<std::uint32_t>(words)) << "zeroed";
  domain.all_gather({}, "zeroed", domain.deadline_after(60s));

  // Everybody writes everybody's n-th part, each from its own side.
  const std::size_t part = bytes / world.size() / 256 * 256;
  for (std::uint32_t rank = 0; rank < world.size(); ++rank) {
    const auto sent = pattern(100 * self + rank, part / sizeof(std::uint32_t));
    device.write(arena.address_of(WorldRank{rank}) + offset + self * part, sent.data(), part);
  }
  domain.all_gather({}, "written", domain.deadline_after(60s));
  for (std::uint32_t rank = 0; rank < world.size(); ++rank) {
    for (std::uint32_t from = 0; from < world.size(); ++from) {
      std::vector<std::uint32_t> seen(part / sizeof(std::uint32_t));
      device.read(seen.data(), arena.address_of(WorldRank{rank}) + offset + from * part, part);
      EXPECT_EQ(seen, pattern(100 * from + rank, seen.size())) << rank << " from " << from;
    }
  }
  domain.all_gather({}, "read", domain.deadline_after(60s));
}

TEST_P(GpuArenas, AreReadAndWrittenByAllRanksAndGrow) {
  const Placing placing = GetParam();
  const auto results =
      test::run_ranks(placing.mode, placing.ranks, [&](World& world) -> std::string {
        host::Domain& domain = world.domain();
        const std::uint32_t index = world.rank().index() % placing.devices;
        const auto device = OpenDevice::open(require_devices(), index, world.rank());
        const std::size_t granule = device->granule_bytes();
        CudaArena arena(domain.shared_from_this(), device, 2 * granule, 8 * granule - 1);
        EXPECT_EQ(arena.stride_bytes(), 8 * granule);
        arena.map_peers(domain.deadline_after(60s));
        exchange_patterns(world, *device, arena, 0, 2 * granule);
        arena.extend(granule);
        arena.extend(2 * granule);
        arena.map_peers(domain.deadline_after(60s));
        exchange_patterns(world, *device, arena, 2 * granule, granule);
        exchange_patterns(world, *device, arena, 3 * granule, 2 * granule);
        EXPECT_EQ(arena.registrations(), 3 * world.size());
        arena.shrink_to(2 * granule);
        arena.extend(granule);
        arena.map_peers(domain.deadline_after(60s));
        exchange_patterns(world, *device, arena, 2 * granule, granule);
        return {};
      });
  expect_no_errors(results);
}

INSTANTIATE_TEST_SUITE_P(
    All, GpuArenas,
    testing::Values(Placing{RankMode::threads, 1, 1}, Placing{RankMode::threads, 2, 1},
                    Placing{RankMode::threads, 2, 2}, Placing{RankMode::threads, 3, 2},
                    Placing{RankMode::processes, 2, 1}, Placing{RankMode::processes, 2, 2},
                    Placing{RankMode::processes, 3, 2}),
    [](const testing::TestParamInfo<Placing>& entry) {
      const Placing& placing = entry.param;
      return std::to_string(placing.ranks) + "_" + test::to_string(placing.mode) + "_on_" +
             std::to_string(placing.devices);
    });

// --- patterns
// -------------------------------------------------------------------------------------

TEST_F(GpuMemory, WritesPatternsAndSeesEveryByteThatDiffers) {
  const auto device = OpenDevice::open(*api_, 0);
  const std::size_t bytes = device->granule_bytes();
  const DeviceRange range(device, bytes);
  const DeviceMemory memory = DeviceMemory::create(device, bytes);
  range.map(0, bytes, memory, WorldRank{0});
  // Around whole words, a block's threads and the blocks of a launch.
  const std::uint64_t stamp = ~std::uint64_t{0} - 1000;  // wraps
  for (const std::size_t size : {std::size_t{1}, std::size_t{7}, std::size_t{8}, std::size_t{9},
                                 std::size_t{2048}, std::size_t{70'003}, bytes - 13}) {
    device->fill(range.base(), 0x55555555, bytes);
    device->stamp(range.base(), size, stamp);
    std::vector<std::uint8_t> seen(bytes);
    device->read(seen.data(), range.base(), bytes);
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < bytes; ++i) {
      const std::uint64_t word = stamp + i / 8;
      const auto wanted = static_cast<std::uint8_t>(word >> 8 * (i % 8));
      wrong += seen[i] == (i < size ? wanted : 0x55) ? 0U : 1U;
    }
    EXPECT_EQ(wrong, 0U) << size;
    EXPECT_TRUE(device->has_stamps(range.base(), size, stamp)) << size;
    EXPECT_FALSE(device->has_stamps(range.base(), size, stamp + 1)) << size;
    for (const std::size_t at : {std::size_t{0}, size / 2, size - 1}) {
      const auto changed = static_cast<std::uint8_t>(seen[at] ^ 0x80);
      device->write(range.base() + at, &changed, 1);
      EXPECT_FALSE(device->has_stamps(range.base(), size, stamp)) << size << " at " << at;
      device->write(range.base() + at, &seen[at], 1);
    }
    EXPECT_TRUE(device->has_stamps(range.base(), size, stamp)) << size;
  }
  EXPECT_TRUE(device->has_stamps(range.base(), 0, stamp));
  EXPECT_THROW(device->stamp(range.base() + 4, 16, stamp), Error);
  range.unmap(0, bytes);
}

// --- beside running kernels
// -----------------------------------------------------------------------

/// A device with memory on it and a stream.
struct Bench {
  Bench(const Api& api, std::uint32_t index)
      : device(OpenDevice::open(api, index)),
        bytes(device->granule_bytes()),
        range(device, bytes),
        memory(DeviceMemory::create(device, bytes)),
        words(device, 4096) {
    range.map(0, bytes, memory, WorldRank{0});
    device->fill(range.base(), 0, bytes);
    throw_unless_ok(api.create_stream(device->handle(), &stream), "making a stream");
  }
  ~Bench() {
    device->api().destroy_stream(device->handle(), stream);
    range.unmap(0, bytes);
  }
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;

  std::uint32_t ended() const {
    return std::atomic_ref<std::uint32_t>(*static_cast<std::uint32_t*>(words.host())).load();
  }
  /// The same device's memory for another one.
  void show(const DeviceRange& other_range, const std::shared_ptr<OpenDevice>& other) const {
    const UniqueFd fd = memory.export_fd();
    const DeviceMemory seen = DeviceMemory::import(other, fd.get(), WorldRank{0});
    other_range.map(0, bytes, seen, WorldRank{0});
  }

  std::shared_ptr<OpenDevice> device;
  std::size_t bytes;
  DeviceRange range;
  DeviceMemory memory;
  MappedWords words;
  StreamHandle stream = nullptr;
};

constexpr std::uint32_t kSpinSeconds = 10;

void wait_for_end(const Bench& bench) {
  const auto until = std::chrono::steady_clock::now() + 2 * std::chrono::seconds(kSpinSeconds);
  while (!bench.device->is_done(bench.stream) && std::chrono::steady_clock::now() < until) {
    std::this_thread::sleep_for(100us);
  }
}

TEST_F(GpuMemory, PokesAWordBesideAKernelThatFillsTheDevice) {
  const Bench bench(*api_, 0);
  // Streams share the device's queues; more of them than queues, all in use.
  std::vector<StreamHandle> streams(40);
  for (StreamHandle& stream : streams) {
    throw_unless_ok(api_->create_stream(bench.device->handle(), &stream), "making a stream");
  }
  const Address word = bench.range.base() + 4096;
  ASSERT_EQ(start_spinning(0, bench.stream, word, bench.words.address(), kSpinSeconds), "");
  for (StreamHandle stream : streams) {
    ASSERT_EQ(start_spinning(0, stream, word, bench.words.address() + 64, kSpinSeconds), "");
  }
  EXPECT_FALSE(bench.device->is_done(bench.stream));
  // Copies go beside it too, to the device and back.
  const std::uint32_t sent = 77;
  std::uint32_t back = 0;
  bench.device->write(bench.range.base(), &sent, sizeof sent);
  bench.device->read(&back, bench.range.base(), sizeof back);
  EXPECT_EQ(back, 77U);
  EXPECT_FALSE(bench.device->is_done(bench.stream));
  EXPECT_EQ(bench.ended(), 0U);

  const auto began = std::chrono::steady_clock::now();
  bench.device->poke(word, 1);
  wait_for_end(bench);
  const std::chrono::duration<double, std::micro> took = std::chrono::steady_clock::now() - began;
  EXPECT_EQ(bench.ended(), 1U) << "it ended because its time was over";
  std::cout << "poke, and the kernel over: " << took.count() << " us\n";
  for (StreamHandle stream : streams) {
    while (!bench.device->is_done(stream)) std::this_thread::sleep_for(100us);
    api_->destroy_stream(bench.device->handle(), stream);
  }
}

TEST_F(GpuMemory, PokesAWordOfAnotherDevice) {
  want(2);
  if (IsSkipped()) return;
  const Bench bench(*api_, 0);
  const auto other = OpenDevice::open(*api_, 1);
  const DeviceRange seen(other, bench.bytes);
  bench.show(seen, other);
  ASSERT_EQ(start_spinning(0, bench.stream, bench.range.base() + 4096, bench.words.address(),
                           kSpinSeconds),
            "");
  EXPECT_FALSE(bench.device->is_done(bench.stream));
  other->poke(seen.base() + 4096, 1);
  wait_for_end(bench);
  EXPECT_EQ(bench.ended(), 1U);
  seen.unmap(0, bench.bytes);
}

TEST_F(GpuMemory, WorksWhileAGraphIsCaptured) {
  const Bench bench(*api_, 0);
  EXPECT_FALSE(bench.device->is_capturing(bench.stream));
  ASSERT_TRUE(is_ok(api_->begin_capture(bench.device->handle(), bench.stream)));
  EXPECT_TRUE(bench.device->is_capturing(bench.stream));
  ASSERT_EQ(start_spinning(0, bench.stream, bench.range.base() + 4096, bench.words.address(),
                           kSpinSeconds),
            "");
  // None of this is part of the graph, and none of it ends the capture.
  bench.device->fill(bench.range.base(), 5, 4096);
  std::uint32_t back = 0;
  bench.device->read(&back, bench.range.base() + 4092, sizeof back);
  EXPECT_EQ(back, 5U);
  bench.device->stamp(bench.range.base() + 8192, 4096, 77);
  EXPECT_TRUE(bench.device->has_stamps(bench.range.base() + 8192, 4096, 77));
  const MappedWords more(bench.device, 64);
  EXPECT_TRUE(bench.device->is_done(nullptr));
  EXPECT_TRUE(bench.device->is_capturing(bench.stream));
  GraphHandle graph = nullptr;
  const Status status = api_->end_capture(bench.device->handle(), bench.stream, &graph);
  ASSERT_TRUE(is_ok(status)) << status.text;
  EXPECT_FALSE(bench.device->is_capturing(bench.stream));
  for (int replay = 0; replay < 3; ++replay) {
    bench.device->fill(bench.range.base() + 4096, 0, 4);
    ASSERT_TRUE(is_ok(api_->launch_graph(bench.device->handle(), graph, bench.stream)));
    bench.device->poke(bench.range.base() + 4096, 1);
    wait_for_end(bench);
    EXPECT_EQ(bench.ended(), 1U);
  }
  api_->destroy_graph(bench.device->handle(), graph);
}

}  // namespace
}  // namespace cohort::cuda
