#pragma once

// Which other implementations there are, and the settings to try each with.

#include <string>
#include <vector>

#include "bench_options.hpp"
#include "bench_rank_set.hpp"

namespace cohort::bench {

/// A peer that was asked for and cannot be started, and why.
struct MissingPeer {
  std::string name;
  std::string why;
};

struct PeerList {
  std::vector<Implementation> implementations;  ///< one for every setting of every peer
  std::vector<MissingPeer> missing;
};

/// The peers that `options` asks for, at their best settings for so many ranks on so many CPUs.
/// Reads the file system. Throws: Error{usage} if one that is named is not there.
PeerList find_peers(const BenchOptions& options, std::uint32_t rank_count, std::uint32_t cpu_count);

}  // namespace cohort::bench
