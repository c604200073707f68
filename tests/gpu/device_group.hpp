#pragma once

// A group of ranks for tests of kernels: all in this process and driven by this thread, one device
// each while there are enough of them. Everything goes through the plugin's table.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "backend/cuda/abi.hpp"

namespace cohort::test {

/// The plugin's table; null if it cannot run here, with the reason in one line.
const cuda::Api* find_plugin(std::string* why_not);

/// Empty if there is none.
std::string describe_fault(const cuda::FaultRecord& fault);

/// Throws: std::runtime_error with the status' text unless it is ok.
void check(const cuda::Status& status, const char* what);

/// Memory of one rank's device for an operand: `bytes` from `shift` bytes behind an aligned
/// address, with canaries around.
class Operand {
 public:
  Operand(int device, std::size_t bytes, std::size_t shift = 0);
  ~Operand();
  Operand(Operand&& other) noexcept;
  Operand(const Operand&) = delete;
  Operand& operator=(const Operand&) = delete;

  cuda::Address address() const { return base_ + kMargin + shift_; }
  std::size_t bytes() const { return bytes_; }
  void write(std::span<const std::byte> content);
  void poison();
  std::vector<std::byte> read() const;
  /// Whether nothing was written outside of the operand.
  bool is_intact() const;

 private:
  static constexpr std::size_t kMargin = 512;

  int device_;
  std::size_t bytes_;
  std::size_t shift_;
  cuda::Address base_ = 0;
};

/// Arenas of one channel, mapped into each other. Sequences begin shortly before 2^32.
class DeviceGroup {
 public:
  DeviceGroup(const cuda::Api& api, std::uint32_t members, std::uint64_t data_bytes);
  ~DeviceGroup();
  DeviceGroup(const DeviceGroup&) = delete;
  DeviceGroup& operator=(const DeviceGroup&) = delete;

  std::uint32_t members() const { return static_cast<std::uint32_t>(ranks_.size()); }
  /// How many ranks share a device.
  std::uint32_t crowd() const { return crowd_; }
  int device_of(std::uint32_t member) const { return ranks_[member].device_index; }
  cuda::Device* device(std::uint32_t member) const { return ranks_[member].device; }
  cuda::StreamHandle stream(std::uint32_t member) const { return ranks_[member].stream; }
  cuda::Address arena(std::uint32_t member) const;
  const cuda::ChannelMap& map() const { return map_; }
  /// A call of this channel without operands.
  cuda::KernelCall call(std::uint32_t member) const;
  cuda::FaultRecord fault(std::uint32_t member) const;
  cuda::Tally tally(std::uint32_t member) const;
  /// Until all streams are idle. Throws: std::runtime_error after a minute.
  void wait() const;
  /// Empty if a buffer holds only what it holds between calls, else what is wrong.
  std::string what_is_left() const;
  /// Brings words, scratch and fault records back to the beginning.
  void reset();

 private:
  struct Rank {
    int device_index = 0;
    cuda::Device* device = nullptr;
    cuda::Address arenas = 0;
    cuda::MemoryHandle memory = 0;
    cuda::StreamHandle stream = nullptr;
    void* mapped = nullptr;
    cuda::Address mapped_address = 0;
  };

  const cuda::Api& api_;
  std::vector<Rank> ranks_;
  cuda::ChannelMap map_{};
  std::uint64_t stride_ = 0;
  std::uint32_t crowd_ = 1;
};

}  // namespace cohort::test
