#include "backend/host/host_backend.hpp"

#include <string>
#include <utility>
#include <vector>

#include <cohort/error.hpp>

#include "backend/host/shared_memory.hpp"
#include "base/bytes.hpp"
#include "base/system_limits.hpp"

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

class HostArena final : public Arena {
 public:
  HostArena(std::shared_ptr<Domain> domain, UniqueFd fd, std::size_t bytes)
      : domain_(std::move(domain)),
        fd_(std::move(fd)),
        bytes_(bytes),
        local_(SharedMapping::map(fd_.get(), bytes, domain_->rank())) {}

  std::size_t bytes() const noexcept override { return bytes_; }
  std::size_t measured_bytes() const override { return shared_memory_held_bytes(fd_.get()); }
  std::byte* local() const noexcept override { return local_->data(); }

  void map_peers(TimePoint deadline) override {
    const std::vector<UniqueFd> fds = domain_->all_gather_fd(fd_.get(), "map", deadline);
    std::vector<std::shared_ptr<SharedMapping>> mapped;
    for (std::uint32_t rank = 0; rank < fds.size(); ++rank) {
      const bool mine = WorldRank{rank} == domain_->rank();
      mapped.push_back(mine ? local_
                            : SharedMapping::map(fds[rank].get(), bytes_, WorldRank{rank}));
    }
    registrations_ += mapped.size() - 1;
    peers_ = std::move(mapped);
  }

  std::uint64_t registrations() const noexcept override { return registrations_; }
  std::byte* of(WorldRank rank) const noexcept override { return peers_[rank.index()]->data(); }

 private:
  std::shared_ptr<Domain> domain_;
  UniqueFd fd_;
  std::size_t bytes_;
  std::shared_ptr<SharedMapping> local_;
  std::uint64_t registrations_ = 1;                    // this rank's own
  std::vector<std::shared_ptr<SharedMapping>> peers_;  // by world rank; empty before map_peers
};

}  // namespace

std::size_t HostBackend::granule_bytes() const noexcept {
  return kGranuleBytes;
}

std::unique_ptr<Arena> HostBackend::allocate(std::size_t bytes) {
  if (bytes == 0 || bytes % kGranuleBytes != 0) {
    throw Error(ErrorCode::usage, "an arena of " + std::to_string(bytes) +
                                      " bytes: not a positive multiple of " +
                                      std::to_string(kGranuleBytes));
  }
  Announcement announcement(*domain_, bytes);
  refuse_if_too_large(*domain_, bytes);
  UniqueFd fd = create_shared_memory("cohort-arena", bytes,
                                     [&](std::size_t piece) { announcement.taken(piece); });
  return std::make_unique<HostArena>(domain_, std::move(fd), bytes);
}

}  // namespace cohort::host
