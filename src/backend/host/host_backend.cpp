#include "backend/host/host_backend.hpp"

#include <string>
#include <utility>
#include <vector>

#include <cohort/error.hpp>

#include "backend/host/shared_memory.hpp"
#include "base/bytes.hpp"
#include "base/system_limits.hpp"
#include "base/test_point.hpp"

namespace cohort::host {
namespace {

constexpr std::size_t kGranuleBytes = 4096;
constexpr std::size_t kBytesPerPageTableEntry = 8;

/// Announces memory about to be taken, piece by piece less; nothing once it ends.
class Announcement {
 public:
  Announcement(Domain& domain, std::size_t bytes) : domain_(domain), rest_(bytes) {
    domain_.set_pending_bytes(rest_);
  }
  ~Announcement() { domain_.set_pending_bytes(0); }
  Announcement(const Announcement&) = delete;
  Announcement& operator=(const Announcement&) = delete;

  void taken(std::size_t bytes) noexcept { domain_.set_pending_bytes(rest_ -= bytes); }

 private:
  Domain& domain_;
  std::size_t rest_;
};

void refuse_if_too_large(const Domain& domain, std::size_t bytes) {
  const auto available = available_memory();
  if (!available) return;
  const std::size_t pending = domain.pending_bytes();
  // Every rank maps every arena, populated: page tables take their part.
  const std::size_t tables =
      pending / kGranuleBytes * kBytesPerPageTableEntry * domain.rank_count();
  if (pending + tables <= available->bytes) return;
  throw Error(ErrorCode::out_of_memory,
              "rank " + std::to_string(domain.rank().index()) + " asks for " + format_bytes(bytes) +
                  " of shared memory (" + format_bytes(pending + tables) +
                  " with the other ranks of this host that ask now), but " + available->limited_by +
                  " leaves " + format_bytes(available->bytes) +
                  "; plan smaller slots or fewer ranks per host",
              domain.rank(), "commit");
}

UniqueFd create_segment(Domain& domain, std::size_t bytes) {
  if (bytes == 0 || bytes % kGranuleBytes != 0) {
    throw Error(ErrorCode::usage, "a segment of " + std::to_string(bytes) +
                                      " bytes: not a positive multiple of " +
                                      std::to_string(kGranuleBytes));
  }
  test_point("arena.reserve");
  Announcement announcement(domain, bytes);
  refuse_if_too_large(domain, bytes);
  return create_shared_memory("cohort-arena", bytes,
                              [&](std::size_t piece) { announcement.taken(piece); });
}

class HostArena final : public Arena {
 public:
  HostArena(std::shared_ptr<Domain> domain, std::size_t bytes, std::size_t reserve_bytes)
      : domain_(std::move(domain)), reserve_bytes_(reserve_bytes) {
    segments_.push_back(new_segment(bytes, 0));
  }

  std::size_t bytes() const noexcept override {
    return segments_.back().offset + segments_.back().bytes;
  }
  std::size_t measured_bytes() const override {
    std::size_t held = 0;
    for (const Segment& segment : segments_) held += shared_memory_held_bytes(segment.fd.get());
    return held;
  }
  std::byte* local() const noexcept override { return own(segments_.front()).data(); }

  void extend(std::size_t bytes) override {
    if (bytes > reserve_bytes_ - this->bytes()) {
      throw Error(ErrorCode::usage,
                  "a segment of " + std::to_string(bytes) + " bytes does not fit behind the " +
                      std::to_string(this->bytes()) + " bytes of an arena of at most " +
                      std::to_string(reserve_bytes_));
    }
    segments_.push_back(new_segment(bytes, this->bytes()));
  }

  void shrink_to(std::size_t bytes) noexcept override {
    while (this->bytes() > bytes && segments_.size() > 1) segments_.pop_back();
  }

  void map_peers(TimePoint deadline) override {
    for (Segment& segment : segments_) {
      if (!segment.is_shared) map_peers_of(segment, deadline);
    }
    peers_.clear();
    for (const auto& mapping : segments_.front().by_rank) peers_.push_back(mapping->data());
  }

  std::uint64_t registrations() const noexcept override { return registrations_; }
  std::byte* of(WorldRank rank) const noexcept override { return peers_[rank.index()]; }

 private:
  struct Segment {
    UniqueFd fd;
    std::size_t offset = 0;
    std::size_t bytes = 0;
    bool is_shared = false;  // peers' parts are mapped as well
    std::vector<std::shared_ptr<SharedMapping>> by_rank;
  };

  const SharedMapping& own(const Segment& segment) const noexcept {
    return *segment.by_rank[domain_->rank().index()];
  }

  Segment new_segment(std::size_t bytes, std::size_t offset) {
    Segment segment;
    segment.fd = create_segment(*domain_, bytes);
    segment.offset = offset;
    segment.bytes = bytes;
    segment.by_rank.resize(domain_->rank_count());
    map(segment, domain_->rank(), segment.fd.get());
    return segment;
  }

  void map(Segment& segment, WorldRank rank, int fd) {
    // The first segment of a rank brings its addresses with it: made here, or by another rank of
    // this process.
    const auto range = segment.offset == 0
                           ? SharedMapping::Where{nullptr, 0, reserve_bytes_}
                           : SharedMapping::Where{segments_.front().by_rank[rank.index()]->range(),
                                                  segment.offset, reserve_bytes_};
    segment.by_rank[rank.index()] = SharedMapping::map(fd, segment.bytes, rank, range);
    ++registrations_;
  }

  void map_peers_of(Segment& segment, TimePoint deadline) {
    const std::vector<UniqueFd> fds = domain_->all_gather_fd(segment.fd.get(), "map", deadline);
    for (std::uint32_t rank = 0; rank < fds.size(); ++rank) {
      if (WorldRank{rank} != domain_->rank()) map(segment, WorldRank{rank}, fds[rank].get());
    }
    segment.is_shared = true;
  }

  std::shared_ptr<Domain> domain_;
  std::size_t reserve_bytes_;
  std::uint64_t registrations_ = 0;
  std::vector<Segment> segments_;
  std::vector<std::byte*> peers_;  // by world rank; empty before map_peers
};

}  // namespace

std::size_t HostBackend::granule_bytes() const noexcept {
  return kGranuleBytes;
}

std::unique_ptr<Arena> HostBackend::allocate(std::size_t bytes, std::size_t reserve_bytes) {
  return std::make_unique<HostArena>(domain_, bytes, reserve_bytes);
}

}  // namespace cohort::host
