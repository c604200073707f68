#pragma once

// Arenas in memory of GPUs. Every rank's arena lies at the same distance from the next one's, so
// that kernels find a peer's byte by arithmetic: base + world rank * stride + offset.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "backend/backend.hpp"
#include "backend/cuda/device.hpp"
#include "backend/host/domain.hpp"

namespace cohort::cuda {

/// `local` and `of` are addresses on the device, never to be followed on the host.
/// A piece of an arena: one allocation.
struct ArenaSegment {
  std::size_t offset = 0;
  std::size_t bytes = 0;
};

class CudaArena final : public Arena {
 public:
  /// Takes and zeroes this rank's first segment. Local. Throws: Error{usage} unless `bytes` are
  /// whole granules, Error{out_of_memory, cuda}.
  CudaArena(std::shared_ptr<host::Domain> domain, std::shared_ptr<OpenDevice> device,
            std::size_t bytes, std::size_t reserve_bytes);
  ~CudaArena() override;
  CudaArena(const CudaArena&) = delete;
  CudaArena& operator=(const CudaArena&) = delete;

  std::size_t bytes() const noexcept override;
  std::size_t measured_bytes() const override { return bytes(); }
  std::byte* local() const noexcept override { return of(domain_->rank()); }
  void extend(std::size_t bytes) override;
  void shrink_to(std::size_t bytes) noexcept override;
  /// Throws: Error{unsupported} naming two GPUs without access to each other, Error{mismatch} if
  /// ranks hold segments of different sizes, Error{cuda}; and as the domain's exchanges.
  void map_peers(TimePoint deadline) override;
  std::uint64_t registrations() const noexcept override { return registrations_; }
  std::byte* of(WorldRank rank) const noexcept override;

  /// By offset; the same on all ranks once they are mapped.
  std::vector<ArenaSegment> segments() const;

  /// Of world rank 0's arena: `Members::arenas`.
  Address base() const noexcept { return range_.base(); }
  std::size_t stride_bytes() const noexcept { return stride_; }
  Address address_of(WorldRank rank) const noexcept { return base() + rank.index() * stride_; }

 private:
  struct Segment {
    std::size_t offset = 0;
    std::size_t bytes = 0;
    bool is_shared = false;            // peers' parts are mapped as well
    std::vector<DeviceMemory> memory;  // own first, then the peers' by world rank
    std::vector<WorldRank> mapped;     // whose parts are mapped
  };
  struct Facts;

  void add_segment(std::size_t bytes, std::size_t offset);
  void map(Segment& segment, DeviceMemory memory, WorldRank owner);
  void release(Segment& segment) noexcept;
  void exchange_facts(TimePoint deadline);
  void refuse_without_access() const;

  std::shared_ptr<host::Domain> domain_;
  std::shared_ptr<OpenDevice> device_;
  std::size_t reserve_bytes_;
  std::size_t stride_;
  DeviceRange range_;
  std::uint64_t registrations_ = 0;
  std::vector<Segment> segments_;
  std::vector<std::string> pci_by_rank_;  // empty before map_peers
};

class CudaBackend final : public Backend {
 public:
  CudaBackend(std::shared_ptr<host::Domain> domain, std::shared_ptr<OpenDevice> device)
      : domain_(std::move(domain)), device_(std::move(device)) {}

  std::size_t granule_bytes() const noexcept override { return device_->granule_bytes(); }
  std::unique_ptr<Arena> allocate(std::size_t bytes, std::size_t reserve_bytes) override;
  using Backend::allocate;

 private:
  std::shared_ptr<host::Domain> domain_;
  std::shared_ptr<OpenDevice> device_;
};

}  // namespace cohort::cuda
