#pragma once

// Ranks as forked processes under a watchdog, and what became of each of them.

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <cohort/error.hpp>

namespace cohort::faults {

inline constexpr std::uint32_t kRanksMax = 16;

/// What a rank tells its parent, in memory that both see. Written by the rank alone; all but
/// `progress` is read once the rank has ended.
struct RankPage {
  template <std::size_t kBytes>
  using Text = std::array<char, kBytes>;

  std::atomic<std::uint64_t> progress{0};
  std::uint32_t finished = 0;
  Text<256> doing{};
  std::uint64_t wrong_values = 0;
  Text<256> wrong{};
  std::uint64_t copied_bytes = 0;
  Text<1024> said{};
  // The error that ended the rank's body, if one did.
  std::uint32_t has_error = 0;
  std::int32_t error_code = 0;
  std::int64_t error_rank = -1;
  Text<2048> error{};
};

/// One rank, in its own process.
class Rank {
 public:
  Rank(std::uint32_t index, std::uint32_t count, RankPage& page) noexcept
      : index_(index), count_(count), page_(&page) {}

  std::uint32_t index() const noexcept { return index_; }
  std::uint32_t count() const noexcept { return count_; }

  /// What it does next, for whoever finds it stuck there.
  void doing(std::string_view what) noexcept;
  /// Words for the verdict.
  void say(std::string_view text) noexcept;
  /// Compares results; the first wrong one is kept in words.
  void expect(std::string_view what, std::span<const float> found, float wanted) noexcept;
  void expect(std::string_view what, std::span<const float> found,
              std::span<const float> wanted) noexcept;
  /// A result that is wrong, though it is not a number.
  void wrong(std::string_view what) noexcept;
  void count_copied(std::size_t bytes) noexcept { page_->copied_bytes += bytes; }
  std::uint64_t copied_bytes() const noexcept { return page_->copied_bytes; }

  /// Waits, for ever if need be, as engines do.
  template <typename Ready>
  void wait_for_ever(std::string_view what, const Ready& ready) {
    doing(what);
    while (!ready()) nap();
  }

 private:
  static void nap() noexcept;
  void compare(std::string_view what, std::size_t index, float found, float wanted) noexcept;

  std::uint32_t index_;
  std::uint32_t count_;
  RankPage* page_;
};

/// How one rank ended.
struct RankEnd {
  enum class Kind { finished, hung, died };
  Kind kind = Kind::finished;
  int signal = 0;     ///< that it died of; 0: it left by itself
  std::string doing;  ///< the last thing that it was at
  std::string said;
  std::uint64_t wrong_values = 0;
  std::string wrong;
  std::uint64_t copied_bytes = 0;
  std::optional<Error> error;  ///< that its body threw
};

/// When to give up on ranks.
struct Watchdog {
  std::chrono::milliseconds idle;   ///< no rank has gone on to anything else for so long
  std::chrono::milliseconds total;  ///< whatever they do
};

/// Forks `count` ranks, runs `body` in each and returns when all have ended; those that the
/// watchdog gives up on are killed. What ranks write to standard error is dropped unless COHORT_LOG
/// is set. Local; no other thread of this process may be running.
/// Throws: Error{system}.
std::vector<RankEnd> run_ranks(std::uint32_t count, const Watchdog& watchdog,
                               const std::function<void(Rank&)>& body);

/// "rank 2", "ranks 0, 1, 5" or "ranks 0, 2-4". Requires: ascending.
std::string name_ranks(std::span<const std::uint32_t> ranks);

/// `text(end)` of all ranks that have one, equal texts once: "ranks 0, 1: ...; rank 2: ...",
/// or "all ranks: ...".
std::string by_text(std::span<const RankEnd> ends,
                    const std::function<std::string(const RankEnd&)>& text);

}  // namespace cohort::faults
