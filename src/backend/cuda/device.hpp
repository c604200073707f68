#pragma once

// A device of the plugin's table for the rest of the library: owners instead of pairs of calls,
// errors instead of statuses.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include <cohort/error.hpp>
#include <cohort/ids.hpp>

#include "backend/cuda/abi.hpp"
#include "base/unique_fd.hpp"

namespace cohort::cuda {

/// Nothing if `status` is ok, else its Error: `doing` and the plugin's own line.
/// Throws: Error{usage, out_of_memory, unsupported, cuda}.
void throw_unless_ok(const Status& status, const std::string& doing,
                     std::optional<WorldRank> rank = std::nullopt);

/// One device, opened by this rank. Functions throw as `throw_unless_ok`, naming device and rank.
/// Thread safety: as the table's: one thread at a time, but `poke` from any.
class OpenDevice {
 public:
  static std::shared_ptr<OpenDevice> open(const Api& api, std::uint32_t index,
                                          std::optional<WorldRank> rank = std::nullopt);
  ~OpenDevice();
  OpenDevice(const OpenDevice&) = delete;
  OpenDevice& operator=(const OpenDevice&) = delete;

  const Api& api() const noexcept { return *api_; }
  /// For functions of the table that have no wrapper here.
  Device* handle() const noexcept { return device_; }
  std::uint32_t index() const noexcept { return index_; }
  const DeviceFacts& facts() const noexcept { return facts_; }
  std::size_t granule_bytes() const noexcept { return granule_bytes_; }
  /// "GPU 0 (NVIDIA H200, 0000:1b:00.0)".
  std::string name() const;

  void fill(Address address, std::uint32_t word, std::size_t bytes) const;
  /// Between any two of device and host memory. Returns once it is there.
  void copy(Address to, Address from, std::size_t bytes) const;
  void read(void* to, Address from, std::size_t bytes) const { copy(host(to), from, bytes); }
  void write(Address to, const void* from, std::size_t bytes) const { copy(to, host(from), bytes); }
  /// See Api.
  void stamp(Address address, std::size_t bytes, std::uint64_t stamp) const;
  bool has_stamps(Address address, std::size_t bytes, std::uint64_t stamp) const;
  void poke(Address address, std::uint32_t word) const;
  void launch(const KernelCall& call) const;
  void launch_fused(const FusedCall& call) const;
  void launch_norm(const Norm& norm, Address input, std::uint64_t rows, StreamHandle stream) const;
  void enqueue_copy(Address to, Address from, std::size_t bytes, StreamHandle stream) const;
  void reduce_alone(Address to, Address from, std::uint64_t elements, DType dtype,
                    StreamHandle stream) const;
  /// At most kCopyPiecesMax.
  void copy_pieces(std::span<const CopyPiece> pieces, StreamHandle stream) const;
  bool is_done(StreamHandle stream) const;
  bool is_capturing(StreamHandle stream) const;
  void retain_in_graph(StreamHandle stream, void (*release)(void* held), void* held) const;

  static Address host(const void* memory) noexcept {
    return static_cast<Address>(reinterpret_cast<std::uintptr_t>(memory));
  }

 private:
  friend class DeviceRange;
  friend class DeviceMemory;
  friend class MappedWords;
  OpenDevice(const Api& api, std::uint32_t index, std::optional<WorldRank> rank)
      : api_(&api), index_(index), rank_(rank) {}
  void check(const Status& status, const char* doing) const;

  const Api* api_;
  std::uint32_t index_;
  std::optional<WorldRank> rank_;
  Device* device_ = nullptr;
  DeviceFacts facts_ = {};
  std::size_t granule_bytes_ = 0;
};

/// Physical memory of a device, own or imported.
class DeviceMemory {
 public:
  static DeviceMemory create(std::shared_ptr<OpenDevice> device, std::size_t bytes);
  /// `owner` is named if it fails. The descriptor stays the caller's.
  static DeviceMemory import(std::shared_ptr<OpenDevice> device, int fd, WorldRank owner);
  DeviceMemory(DeviceMemory&& other) noexcept
      : device_(std::move(other.device_)), memory_(other.memory_) {}
  DeviceMemory& operator=(DeviceMemory&&) = delete;
  ~DeviceMemory();

  UniqueFd export_fd() const;
  MemoryHandle handle() const noexcept { return memory_; }

 private:
  DeviceMemory(std::shared_ptr<OpenDevice> device, MemoryHandle memory)
      : device_(std::move(device)), memory_(memory) {}

  std::shared_ptr<OpenDevice> device_;
  MemoryHandle memory_;
};

/// Addresses set aside on a device.
class DeviceRange {
 public:
  DeviceRange(std::shared_ptr<OpenDevice> device, std::size_t bytes);
  ~DeviceRange();
  DeviceRange(const DeviceRange&) = delete;
  DeviceRange& operator=(const DeviceRange&) = delete;

  Address base() const noexcept { return base_; }
  std::size_t bytes() const noexcept { return bytes_; }

  /// `owner` is named if it fails.
  void map(std::size_t offset, std::size_t bytes, const DeviceMemory& memory,
           WorldRank owner) const;
  void unmap(std::size_t offset, std::size_t bytes) const noexcept;

 private:
  std::shared_ptr<OpenDevice> device_;
  Address base_ = 0;
  std::size_t bytes_;
};

/// Zeroed host memory that kernels of the device can write.
class MappedWords {
 public:
  MappedWords(std::shared_ptr<OpenDevice> device, std::size_t bytes);
  ~MappedWords();
  MappedWords(const MappedWords&) = delete;
  MappedWords& operator=(const MappedWords&) = delete;

  void* host() const noexcept { return host_; }
  Address address() const noexcept { return address_; }

 private:
  std::shared_ptr<OpenDevice> device_;
  void* host_ = nullptr;
  Address address_ = 0;
};

}  // namespace cohort::cuda
