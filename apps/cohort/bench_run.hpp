#pragma once

// A measurement: every implementation in turn, round after round, so that drift of the machine hits
// all alike.

#include <iosfwd>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "bench_options.hpp"
#include "bench_peers.hpp"

namespace cohort {
class Progress;
}

namespace cohort::bench {

/// us per call, over all rounds; of each call the rank that took longest.
struct Times {
  double min_us = 0;
  double p50_us = 0;
  double mean_us = 0;
  double p99_us = 0;
  std::size_t calls = 0;
};

/// Pure. Requires: at least one sample.
Times summarise(std::vector<float> samples);

/// What one peer needed, at the best of its settings.
struct PeerTimes {
  Times times;
  std::string setting;
};

struct Row {
  std::string op;
  std::string dtype;
  std::uint32_t ranks = 0;
  std::size_t bytes = 0;
  std::string path;
  bool rotating = false;
  bool in_heap = true;
  bool in_place = false;
  Times times;
  std::map<std::string, PeerTimes> peers;
  std::map<std::string, Times> references;  ///< memcpy, yield_barrier, spin_barrier
};

/// A peer's result that was wrong or not to be had: said, never compared with.
struct Remark {
  std::string who;
  std::string text;
};

/// What cohort's own ranks said about their memory.
struct RankFacts {
  std::uint32_t ranks = 0;
  std::uint32_t rank = 0;
  std::map<std::string, std::uint64_t> values;
};

struct Measurement {
  Memory memory = Memory::host;
  std::string table{};  ///< of paths, in force on cohort's ranks
  std::vector<Row> rows;
  std::vector<Remark> remarks;
  std::vector<RankFacts> facts;
};

/// Starts everything, checks every result, then times.
/// Throws: Error{mismatch} if a result of cohort's own is wrong, Error as RankSet for its ranks.
Measurement measure(const BenchOptions& options, Progress& progress);

/// The fastest peer of a row by median, none if the row has no peer. Pure.
std::optional<std::string> best_peer(const Row& row);

}  // namespace cohort::bench
