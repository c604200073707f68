#pragma once

// What tests of whole sessions need of a device. They run over the plugin on GPUs, and over the
// fake of tests/support in processes that link over_fake.cpp instead of over_gpus.cpp.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <cohort/session.hpp>
#include <cohort/stream.hpp>
#include <cohort/tensor.hpp>

#include "backend/cuda/device.hpp"
#include "support/ranks.hpp"

namespace cohort::test {

/// Whether no GPU is behind the sessions of this process.
bool is_over_fake() noexcept;

/// Bytes of a device that nobody has taken; of other processes' too.
std::uint64_t free_device_bytes(std::uint32_t device);

/// The table that sessions of this process use; null, with the reason, where fewer than `wanted`
/// devices are.
const cuda::Api* find_session_devices(std::uint32_t wanted, std::string& missing);

/// Memory of a device outside of any arena, with canaries around.
class GpuBlock {
 public:
  GpuBlock(const std::shared_ptr<cuda::OpenDevice>& device, std::size_t bytes, std::size_t shift);
  ~GpuBlock();
  GpuBlock(const GpuBlock&) = delete;
  GpuBlock& operator=(const GpuBlock&) = delete;

  std::byte* data() const noexcept;
  std::size_t bytes() const noexcept { return bytes_; }
  /// Whether nothing was written before or behind it.
  bool is_intact() const;

 private:
  static constexpr std::size_t kMargin = 512;
  std::size_t whole_bytes() const noexcept { return range_.bytes(); }

  std::shared_ptr<cuda::OpenDevice> device_;
  std::size_t bytes_;
  std::size_t begin_;  // of the block in its range
  cuda::DeviceMemory memory_;
  cuda::DeviceRange range_;
};

/// One rank's device, opened, with streams of its own. Copies are done when they return.
class RankGpu {
 public:
  /// Rank r gets device r modulo their number.
  RankGpu(const cuda::Api& api, WorldRank rank, std::size_t streams = 1);
  ~RankGpu();
  RankGpu(const RankGpu&) = delete;
  RankGpu& operator=(const RankGpu&) = delete;

  const std::shared_ptr<cuda::OpenDevice>& device() const noexcept { return device_; }
  CommitOptions commit_options() const noexcept { return {.device = device_->index()}; }
  Stream stream(std::size_t index = 0) const { return streams_.at(index); }

  /// Lives as long as this.
  GpuBlock& allocate(std::size_t bytes, std::size_t shift = 0);
  bool is_intact() const;

  void write(void* to, std::span<const std::byte> bytes) const;
  std::vector<std::byte> read(const void* from, std::size_t bytes) const;
  /// Until everything in the stream has ended, well or not. Throws: std::runtime_error if it never
  /// does.
  void await(Stream stream) const;

  /// What goes into the first stream while `body` runs.
  cuda::GraphHandle capture(const std::function<void()>& body) const;
  void launch(cuda::GraphHandle graph) const;
  /// Once no launch of it is under way.
  void destroy(cuda::GraphHandle graph) const;

  template <typename T>
  void write_all(const Tensor& to, const std::vector<T>& values) const {
    write(to.data, std::as_bytes(std::span(values)));
  }
  template <typename T>
  std::vector<T> read_all(const ConstTensor& from) const {
    const std::vector<std::byte> bytes = read(from.data, from.elements * bytes_of(from.dtype));
    std::vector<T> values(bytes.size() / sizeof(T));
    if (!bytes.empty())
      std::copy(bytes.begin(), bytes.end(), reinterpret_cast<std::byte*>(values.data()));
    return values;
  }

 private:
  std::shared_ptr<cuda::OpenDevice> device_;
  std::vector<Stream> streams_;
  std::deque<GpuBlock> blocks_;
};

/// Runs `body` on ranks with a device each, several on one where there are fewer devices. Skips the
/// current test, with the reason, where no device is, and for ranks that are processes unless each
/// has a device: on one they run by turns. Fails it for what a rank throws.
void run_gpu_ranks(RankMode mode, std::uint32_t rank_count,
                   const std::function<void(World&, const cuda::Api&)>& body);

}  // namespace cohort::test
