#pragma once

// What a rank's scopes did, step after step: a digest of all steps and the last of them in plain
// form, so that ranks can tell whether they did the same, and where they parted. Pure.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <cohort/layout.hpp>

namespace cohort::heap {

/// One step of a scope.
struct ScopeStep {
  enum class Kind : std::uint8_t { allocate, release };
  enum class Where : std::uint8_t { in_pool, over_budget, disabled };

  std::uint64_t bytes = 0;   ///< asked for
  std::uint64_t offset = 0;  ///< in the pool; 0 elsewhere
  std::uint32_t pool = 0;
  GroupKind group = GroupKind::world;
  Kind kind = Kind::allocate;
  Where where = Where::in_pool;
  std::uint8_t unused = 0;
  friend bool operator==(const ScopeStep&, const ScopeStep&) = default;
};
static_assert(sizeof(ScopeStep) == 24);

/// "allocate 4096 bytes for tp at offset 512 of pool 0".
std::string describe(const ScopeStep& step);

class ScopeHistory {
 public:
  /// Steps kept in plain form.
  static constexpr std::size_t kKeptCount = 1024;

  void fold(const ScopeStep& step) noexcept;

  struct Summary {
    std::uint64_t step_count = 0;
    std::uint64_t digest = 0;
    friend bool operator==(const Summary&, const Summary&) = default;
  };
  const Summary& summary() const noexcept { return summary_; }

  /// The summary and the kept steps as bytes for other ranks.
  std::vector<std::byte> encode() const;

  /// The first step in which the encoded histories, by rank, differ, and who did what; nothing if
  /// they are equal. Throws: Error{corrupt} for bytes that are no history.
  static std::optional<std::string> first_difference(
      std::span<const std::vector<std::byte>> histories);

 private:
  struct Kept {
    ScopeStep step;
    std::uint64_t digest_before = 0;
  };

  Summary summary_;
  std::array<Kept, kKeptCount> kept_{};  // step n at n % kKeptCount
};

}  // namespace cohort::heap
