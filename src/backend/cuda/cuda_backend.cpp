#include "backend/cuda/cuda_backend.hpp"

#include <array>
#include <cstring>
#include <optional>
#include <span>

#include <cohort/error.hpp>

#include "base/test_point.hpp"

namespace cohort::cuda {
namespace {

std::size_t round_up(std::size_t bytes, std::size_t granule) {
  return (bytes + granule - 1) / granule * granule;
}

std::string text_of(WorldRank rank) {
  return "rank " + std::to_string(rank.index());
}

/// The device's number in this process; nothing if it does not see it.
std::optional<std::uint32_t> find_device(const Api& api, const std::string& pci) {
  std::uint32_t count = 0;
  throw_unless_ok(api.device_count(&count), "counting GPUs");
  for (std::uint32_t index = 0; index < count; ++index) {
    DeviceFacts facts = {};
    throw_unless_ok(api.describe(index, &facts), "looking at GPU " + std::to_string(index));
    if (pci == facts.pci) return index;
  }
  return std::nullopt;
}

}  // namespace

/// What a rank tells of itself before memory is passed on.
struct CudaArena::Facts {
  std::uint64_t bytes;  // of its arena
  std::uint64_t stride;
  std::uint64_t segments;  // that peers have not mapped yet
  std::array<char, 32> pci;
};

CudaArena::CudaArena(std::shared_ptr<host::Domain> domain, std::shared_ptr<OpenDevice> device,
                     std::size_t bytes, std::size_t reserve_bytes)
    : domain_(std::move(domain)),
      device_(std::move(device)),
      reserve_bytes_(reserve_bytes),
      stride_(round_up(reserve_bytes, device_->granule_bytes())),
      range_(device_, stride_ * domain_->rank_count()) {
  add_segment(bytes, 0);
}

CudaArena::~CudaArena() {
  for (Segment& segment : segments_) release(segment);
}

std::size_t CudaArena::bytes() const noexcept {
  return segments_.back().offset + segments_.back().bytes;
}

std::vector<ArenaSegment> CudaArena::segments() const {
  std::vector<ArenaSegment> pieces;
  for (const Segment& segment : segments_) pieces.push_back({segment.offset, segment.bytes});
  return pieces;
}

std::byte* CudaArena::of(WorldRank rank) const noexcept {
  return reinterpret_cast<std::byte*>(static_cast<std::uintptr_t>(address_of(rank)));  // NOLINT
}

void CudaArena::extend(std::size_t bytes) {
  if (bytes > reserve_bytes_ - this->bytes()) {
    throw Error(ErrorCode::usage,
                "a segment of " + std::to_string(bytes) + " bytes does not fit behind the " +
                    std::to_string(this->bytes()) + " bytes of an arena of at most " +
                    std::to_string(reserve_bytes_));
  }
  add_segment(bytes, this->bytes());
}

void CudaArena::shrink_to(std::size_t bytes) noexcept {
  while (this->bytes() > bytes && segments_.size() > 1) {
    release(segments_.back());
    segments_.pop_back();
  }
}

void CudaArena::map_peers(TimePoint deadline) {
  exchange_facts(deadline);
  // All descriptors first: a rank that cannot map fails when nobody waits for it any more.
  std::vector<std::vector<UniqueFd>> fds;
  for (const Segment& segment : segments_) {
    if (segment.is_shared) continue;
    const UniqueFd own = segment.memory.front().export_fd();
    fds.push_back(domain_->all_gather_fd(own.get(), "map", deadline));
  }
  refuse_without_access();
  std::size_t next = 0;
  for (Segment& segment : segments_) {
    if (segment.is_shared) continue;
    const std::vector<UniqueFd>& by_rank = fds[next++];
    for (std::uint32_t rank = 0; rank < by_rank.size(); ++rank) {
      const WorldRank owner{rank};
      if (owner == domain_->rank()) continue;
      map(segment, DeviceMemory::import(device_, by_rank[rank].get(), owner), owner);
    }
    segment.is_shared = true;
  }
}

void CudaArena::add_segment(std::size_t bytes, std::size_t offset) {
  const std::size_t granule = device_->granule_bytes();
  if (bytes == 0 || bytes % granule != 0) {
    throw Error(ErrorCode::usage, "a segment of " + std::to_string(bytes) +
                                      " bytes: not a positive multiple of " +
                                      std::to_string(granule));
  }
  test_point("arena.reserve");
  Segment segment;
  segment.offset = offset;
  segment.bytes = bytes;
  try {
    map(segment, DeviceMemory::create(device_, bytes), domain_->rank());
    device_->fill(address_of(domain_->rank()) + offset, 0, bytes);
    segments_.push_back(std::move(segment));
  } catch (...) {
    release(segment);
    throw;
  }
}

void CudaArena::map(Segment& segment, DeviceMemory memory, WorldRank owner) {
  // Room first: what is mapped must be noted.
  segment.mapped.reserve(segment.mapped.size() + 1);
  segment.memory.reserve(segment.memory.size() + 1);
  range_.map(owner.index() * stride_ + segment.offset, segment.bytes, memory, owner);
  segment.mapped.push_back(owner);
  segment.memory.push_back(std::move(memory));
  ++registrations_;
}

void CudaArena::release(Segment& segment) noexcept {
  for (const WorldRank owner : segment.mapped) {
    range_.unmap(owner.index() * stride_ + segment.offset, segment.bytes);
  }
  segment.mapped.clear();
  segment.memory.clear();
}

void CudaArena::exchange_facts(TimePoint deadline) {
  Facts own = {.bytes = bytes(), .stride = stride_, .segments = 0, .pci = {}};
  for (const Segment& segment : segments_) own.segments += segment.is_shared ? 0 : 1;
  static_assert(sizeof own.pci == sizeof DeviceFacts::pci);
  std::memcpy(own.pci.data(), device_->facts().pci, own.pci.size());
  own.pci.back() = '\0';

  const auto all = domain_->all_gather(std::as_bytes(std::span(&own, 1)), "map", deadline);
  pci_by_rank_.clear();
  for (std::uint32_t rank = 0; rank < all.size(); ++rank) {
    const WorldRank owner{rank};
    Facts facts = {};
    if (all[rank].size() != sizeof facts) {
      throw Error(ErrorCode::mismatch,
                  text_of(owner) + " runs another version of cohort, or no GPU", owner);
    }
    std::memcpy(&facts, all[rank].data(), sizeof facts);
    if (facts.bytes != own.bytes || facts.stride != own.stride || facts.segments != own.segments) {
      throw Error(ErrorCode::mismatch,
                  text_of(owner) + " has an arena of " + std::to_string(facts.bytes) +
                      " bytes in steps of " + std::to_string(facts.stride) + ", but " +
                      text_of(domain_->rank()) + " of " + std::to_string(own.bytes) +
                      " in steps of " + std::to_string(own.stride),
                  owner);
    }
    facts.pci.back() = '\0';
    pci_by_rank_.emplace_back(facts.pci.data());
  }
}

void CudaArena::refuse_without_access() const {
  for (std::uint32_t rank = 0; rank < pci_by_rank_.size(); ++rank) {
    // What this process does not see cannot be asked about: mapping will tell.
    const auto peer = find_device(device_->api(), pci_by_rank_[rank]);
    if (!peer || *peer == device_->index()) continue;
    LinkFacts link = {};
    throw_unless_ok(device_->api().describe_link(device_->index(), *peer, &link),
                    "looking at the link of " + device_->name());
    if (link.can_access) continue;
    throw Error(ErrorCode::unsupported,
                device_->name() + " of " + text_of(domain_->rank()) +
                    " has no peer access to GPU " + pci_by_rank_[rank] + " of " +
                    text_of(WorldRank{rank}) +
                    "; see `nvidia-smi topo -p2p r`: an IOMMU, or ACS on a PCIe switch, may be in "
                    "the way",
                WorldRank{rank});
  }
}

std::unique_ptr<Arena> CudaBackend::allocate(std::size_t bytes, std::size_t reserve_bytes) {
  return std::make_unique<CudaArena>(domain_, device_, bytes, reserve_bytes);
}

}  // namespace cohort::cuda
