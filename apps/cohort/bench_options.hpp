#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "path_flags.hpp"
#include "verbosity.hpp"

namespace CLI {
class App;
}

namespace cohort::bench {

/// The flags of one command line, as given.
struct BenchFlags {
  std::string device = "host";
  std::string ops = "all_reduce,all_gather,reduce_scatter,broadcast,barrier,agreement,host";
  std::string ranks = "2";
  std::string bytes = "8..8Mi";
  std::string dtype = "f32";
  std::string peers = "auto";
  std::string peer_folder{};
  std::string against{};
  std::string operands = "heap,ordinary";
  std::string buffers = "warm,rotating";
  std::uint32_t rounds = 5;
  double seconds = 0.05;
  bool in_place = false;
  bool quick = false;
  Verbosity verbosity{};
  bool json = false;
  std::string plot{};
  std::string report{};
  PathFlags paths{};

  /// What `--device` says. Throws: Error{usage}.
  Memory memory() const;
};

/// What to measure: the flags, read and checked.
struct BenchOptions {
  Memory memory = Memory::host;
  std::vector<std::string> ops;
  std::vector<std::uint32_t> ranks;
  std::vector<std::size_t> bytes;
  std::string dtype;
  std::vector<std::string> peers;  ///< "auto" alone, or names; none at all is an empty list
  std::string peer_folder;         ///< "" is beside the command
  std::string against;             ///< another build of this command, measured as a peer; or ""
  std::vector<std::string> rank_arguments;  ///< for the command's own ranks
  bool heap = true;
  bool ordinary = true;
  bool warm = true;
  bool rotating = true;
  bool in_place = false;
  std::uint32_t rounds = 5;
  double seconds = 0.05;  ///< of one implementation at one size
};

void add_bench_flags(CLI::App& command, BenchFlags& flags);

/// Reads the path table's file, if there is one. Throws: Error{usage} naming the flag and what it
/// takes, or as PathFlags::table.
BenchOptions read_bench_flags(const BenchFlags& flags);

/// "8..8Mi" (powers of two), "8,1Ki,3000", or both mixed, in rising order. Pure.
/// Throws: Error{usage} naming the flag.
std::vector<std::size_t> parse_byte_list(const std::string& text, const std::string& flag);

}  // namespace cohort::bench
