#include "gpu/rank_gpu.hpp"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <stdexcept>
#include <thread>

#include <gtest/gtest.h>

#include "session/device_api.hpp"
#include "support/subprocess.hpp"

namespace cohort::test {

namespace {

using namespace std::chrono_literals;

/// Streams of ranks that share a device must not share a queue of it: before CUDA is there.
const bool queues_for_all = ::setenv("CUDA_DEVICE_MAX_CONNECTIONS", "32", 0) == 0;

constexpr std::byte kCanary{0x5C};

std::size_t whole_granules(std::size_t bytes, std::size_t granule) {
  return (bytes + granule - 1) / granule * granule;
}

}  // namespace

const cuda::Api* find_session_devices(std::uint32_t wanted, std::string& missing) {
  std::uint32_t count = 0;
  try {
    const cuda::Api& api = device_api();
    cuda::throw_unless_ok(api.device_count(&count), "counting GPUs");
    if (count >= wanted) return &api;
  } catch (const Error& error) {
    missing = error.what();
    return nullptr;
  }
  missing = std::to_string(wanted) + " GPUs wanted, " + std::to_string(count) + " there";
  return nullptr;
}

GpuBlock::GpuBlock(const std::shared_ptr<cuda::OpenDevice>& device, std::size_t bytes,
                   std::size_t shift)
    : device_(device),
      bytes_(bytes),
      begin_(kMargin + shift),
      memory_(cuda::DeviceMemory::create(
          device, whole_granules(begin_ + bytes + kMargin, device->granule_bytes()))),
      range_(device, whole_granules(begin_ + bytes + kMargin, device->granule_bytes())) {
  range_.map(0, whole_bytes(), memory_, WorldRank{0});
  device_->fill(range_.base(), 0x5C5C5C5C, whole_bytes());
}

GpuBlock::~GpuBlock() {
  range_.unmap(0, whole_bytes());
}

std::byte* GpuBlock::data() const noexcept {
  const auto address = static_cast<std::uintptr_t>(range_.base() + begin_);
  return reinterpret_cast<std::byte*>(address);  // NOLINT(performance-no-int-to-ptr)
}

bool GpuBlock::is_intact() const {
  std::vector<std::byte> around(begin_ + kMargin);
  device_->read(around.data(), range_.base(), begin_);
  device_->read(around.data() + begin_, range_.base() + begin_ + bytes_, kMargin);
  return std::ranges::all_of(around, [](std::byte byte) { return byte == kCanary; });
}

RankGpu::RankGpu(const cuda::Api& api, WorldRank rank, std::size_t streams) {
  std::uint32_t count = 0;
  cuda::throw_unless_ok(api.device_count(&count), "counting GPUs", rank);
  device_ = cuda::OpenDevice::open(api, rank.index() % count, rank);
  for (std::size_t i = 0; i < streams; ++i) {
    cuda::throw_unless_ok(api.create_stream(device_->handle(), &streams_.emplace_back().handle),
                          "a stream", rank);
  }
}

RankGpu::~RankGpu() {
  for (const Stream stream : streams_)
    device_->api().destroy_stream(device_->handle(), stream.handle);
}

GpuBlock& RankGpu::allocate(std::size_t bytes, std::size_t shift) {
  return blocks_.emplace_back(device_, bytes, shift);
}

bool RankGpu::is_intact() const {
  return std::ranges::all_of(blocks_, [](const GpuBlock& block) { return block.is_intact(); });
}

void RankGpu::write(void* to, std::span<const std::byte> bytes) const {
  if (!bytes.empty()) device_->write(cuda::OpenDevice::host(to), bytes.data(), bytes.size());
}

std::vector<std::byte> RankGpu::read(const void* from, std::size_t bytes) const {
  std::vector<std::byte> content(bytes);
  if (bytes != 0) device_->read(content.data(), cuda::OpenDevice::host(from), bytes);
  return content;
}

void RankGpu::await(Stream stream) const {
  const auto until = std::chrono::steady_clock::now() + patience(60s);
  while (!device_->is_done(stream.handle)) {
    if (std::chrono::steady_clock::now() > until) throw std::runtime_error("a stream never ends");
    std::this_thread::sleep_for(100us);
  }
}

cuda::GraphHandle RankGpu::capture(const std::function<void()>& body) const {
  cuda::GraphHandle graph = nullptr;
  const cuda::Api& api = device_->api();
  void* const handle = stream().handle;
  cuda::throw_unless_ok(api.begin_capture(device_->handle(), handle), "capturing");
  body();
  cuda::throw_unless_ok(api.end_capture(device_->handle(), handle, &graph), "ending a capture");
  return graph;
}

void RankGpu::launch(cuda::GraphHandle graph) const {
  cuda::throw_unless_ok(device_->api().launch_graph(device_->handle(), graph, stream().handle),
                        "replaying");
}

void RankGpu::destroy(cuda::GraphHandle graph) const {
  device_->api().destroy_graph(device_->handle(), graph);
}

void run_gpu_ranks(RankMode mode, std::uint32_t rank_count,
                   const std::function<void(World&, const cuda::Api&)>& body) {
  // Every rank looks itself: who starts processes must not have initialised CUDA.
  const auto results = run_ranks(mode, rank_count, [&](World& world) -> std::string {
    const std::uint32_t wanted = mode == RankMode::processes ? world.size() : 1;
    std::string missing;
    const cuda::Api* const api = find_session_devices(wanted, missing);
    if (api == nullptr) return "skipped: " + missing;
    body(world, *api);
    return "done";
  });
  expect_no_errors(results);
  if (results[0].output.starts_with("skipped")) GTEST_SKIP() << results[0].output;
  for (const RankResult& result : results) EXPECT_EQ(result.output, "done");
}

}  // namespace cohort::test
