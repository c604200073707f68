#pragma once

// Memory that all ranks of one measured implementation share, offered by the command as a file.
// Standard library only.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>

#include "bench_worker.hpp"

namespace cohort::bench {

inline constexpr std::size_t kRanksMax = 64;

/// One rank's words, on lines of their own.
struct SharedWords {
  alignas(64) std::atomic<std::uint64_t> arrived{0};
  alignas(64) std::atomic<std::uint64_t> copied{0};
};

/// The words of all ranks, then `bytes_of_rank` bytes for each.
class SharedRegion {
 public:
  /// Throws: std::runtime_error if the file cannot be mapped.
  SharedRegion(const WorkerSettings& settings, std::uint32_t rank_count, std::size_t bytes_of_rank);

  SharedWords& words(std::uint32_t rank) const noexcept { return words_[rank]; }
  std::byte* memory(std::uint32_t rank) const noexcept { return memory_ + rank * bytes_of_rank_; }

 private:
  SharedWords* words_ = nullptr;
  std::byte* memory_ = nullptr;
  std::size_t bytes_of_rank_;
};

/// Gives the CPU to a hyper-thread for a moment.
inline void pause_briefly() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

}  // namespace cohort::bench
