#pragma once

// Worlds of simulated ranks: joined for real once, then used by one simulated session after the
// other. Arenas are plain memory of this process that keeps what the last session left in it, which
// is worse for the protocol than zeroes.

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <cohort/cohort.hpp>

#include "sim/program.hpp"
#include "sim/simulation.hpp"

namespace cohort::sim {

/// How one rank of a simulated run ended.
struct RankEnd {
  std::optional<Error> error;
  std::size_t wrong = 0;  ///< results
  std::string first_wrong;
  Met met;
};

struct RunEnd {
  std::vector<RankEnd> ranks;
  bool clock_moved = false;
  bool proved = false;  ///< slots and pools, before the programs began
  std::uint64_t switches = 0;
  std::uint64_t schedule_hash = 0;
  std::string schedule;

  std::size_t wrong() const noexcept;
  const Error* first_error() const noexcept;
  /// Nothing if all ranks ended well with right results, else what went wrong.
  std::string failure() const;
};

class Worlds {
 public:
  Worlds();
  ~Worlds();
  /// Runs one program per rank under the schedule of `seed`.
  RunEnd run(const Layout& layout, std::span<const std::vector<Step>> programs, std::uint64_t seed,
             std::string_view left_out = {});

 private:
  struct Memory;
  std::vector<World>& joined(std::uint32_t rank_count);

  Stacks stacks_;
  std::unique_ptr<Memory> memory_;
  std::map<std::uint32_t, std::vector<World>> worlds_;
};

/// The random program of a seed on this many ranks: everything follows from the two.
RunEnd run_random(Worlds& worlds, std::uint32_t rank_count, std::uint64_t seed,
                  std::string_view left_out = {});

}  // namespace cohort::sim
