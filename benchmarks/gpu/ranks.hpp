#pragma once

// The processes of one measurement, one for each GPU: forked before CUDA starts in any of them,
// meeting in shared memory. Every wait has an end.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/unique_fd.hpp"

namespace cohort::gpu_bench {

inline constexpr std::uint32_t kRanksMax = 8;
inline constexpr std::size_t kMessageBytes = 65536;

struct SharedPlace;

class Ranks {
 public:
  /// Forks `count - 1` children; returns in all processes, rank 0 in the caller. Whoever waits
  /// longer than `seconds_max` for another ends its process with a message.
  static Ranks fork_all(std::uint32_t count, double seconds_max);

  std::uint32_t rank() const noexcept { return rank_; }
  std::uint32_t count() const noexcept { return count_; }

  // Collective, all of them.
  void barrier();
  double max(double mine);
  /// Bytes of rank 0, at most kMessageBytes, to all.
  void broadcast(void* data, std::size_t bytes);
  /// All ranks' bytes by rank, each at most kMessageBytes.
  std::vector<std::vector<std::byte>> gather(std::span<const std::byte> mine);
  /// The first rank's text that is not empty, "rank R: TEXT"; empty if all are.
  std::string first_text(const std::string& mine);
  /// One descriptor to every other rank, and theirs by rank; the own place stays empty.
  std::vector<UniqueFd> exchange(int descriptor);

  /// Rank 0 waits for its children; the others end here. Returns the greatest exit status.
  int finish(int status);

 private:
  /// Then it will never come, and what is measured without it means nothing.
  void end_if_child_has() const;

  std::uint32_t rank_ = 0;
  std::uint32_t count_ = 1;
  double seconds_max_ = 60;
  SharedPlace* place_ = nullptr;
  std::array<int, kRanksMax> sockets_{};  // to every other rank
  std::vector<int> children_;
};

}  // namespace cohort::gpu_bench
