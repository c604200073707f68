#include "bench_options.hpp"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <sstream>

#include <CLI/CLI.hpp>

#include <cohort/error.hpp>

#include "bench_job.hpp"
#include "bench_shared.hpp"

namespace cohort::bench {
namespace {

constexpr std::size_t kBytesMax = std::size_t{256} << 20;
const std::vector<std::string> kOps{
    "all_reduce", "all_gather", "reduce_scatter", "broadcast", "barrier", "agreement", "host"};
const std::vector<std::string> kPeers{"openmpi", "mpich", "gloo", "shm"};

[[noreturn]] void refuse(const std::string& flag, const std::string& why) {
  throw Error(ErrorCode::usage, "--" + flag + " " + why, std::nullopt, "arguments");
}

std::vector<std::string> split(const std::string& text, const std::string& flag) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, ',');) {
    if (part.empty()) refuse(flag, "'" + text + "' has an empty part");
    if (std::find(parts.begin(), parts.end(), part) == parts.end()) parts.push_back(part);
  }
  if (text.ends_with(',')) refuse(flag, "'" + text + "' ends with a comma");
  if (parts.empty()) refuse(flag, "names nothing");
  return parts;
}

std::vector<std::string> names_of(const std::string& text, const std::string& flag,
                                  const std::vector<std::string>& known) {
  std::vector<std::string> names = split(text, flag);
  for (const std::string& name : names) {
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    std::string all;
    for (const std::string& each : known) all += (all.empty() ? "" : ", ") + each;
    refuse(flag, "does not know '" + name + "'; it takes " + all);
  }
  return names;
}

bool contains(const std::vector<std::string>& names, const char* name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::size_t parse_bytes(const std::string& text, const std::string& flag) {
  std::size_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const std::string unit(end, text.data() + text.size());
  const unsigned shift = unit.starts_with("Ki") ? 10 : unit.starts_with("Mi") ? 20 : 0;
  const bool known = unit.empty() || unit == "Ki" || unit == "KiB" || unit == "Mi" || unit == "MiB";
  if (error != std::errc{} || !known || value == 0 || value > (kBytesMax >> shift)) {
    refuse(flag, "'" + text + "' is no size from 1 to 256Mi, such as 8, 64Ki or 4Mi");
  }
  return value << shift;
}

std::vector<std::uint32_t> parse_ranks(const std::string& text) {
  std::vector<std::uint32_t> ranks;
  for (const std::string& part : split(text, "ranks")) {
    std::uint32_t value = 0;
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), value);
    if (error != std::errc{} || end != part.data() + part.size() || value < 2 ||
        value > kRanksMax) {
      refuse("ranks",
             "'" + part + "' is no number of ranks from 2 to " + std::to_string(kRanksMax));
    }
    ranks.push_back(value);
  }
  return ranks;
}

/// The flags with what can be measured in GPU memory: cohort alone, in graphs, which hold
/// addresses.
BenchFlags on_gpus(BenchFlags flags) {
  const BenchFlags left_out;
  if (flags.peers == left_out.peers) flags.peers = "none";
  if (flags.operands == left_out.operands) flags.operands = "heap";
  if (flags.buffers == left_out.buffers) flags.buffers = "warm";
  const auto refuse_other = [](const char* flag, const std::string& value, const char* only) {
    if (value == only) return;
    refuse(flag, "is " + std::string(only) +
                     " with --device cuda; other libraries, buffers and "
                     "operands are measured on GPUs by benchmarks/gpu");
  };
  refuse_other("peers", flags.peers, "none");
  refuse_other("operands", flags.operands, "heap");
  refuse_other("buffers", flags.buffers, "warm");
  if (!flags.against.empty()) refuse("against", "is measured with --device host only");
  return flags;
}

}  // namespace

std::vector<std::size_t> parse_byte_list(const std::string& text, const std::string& flag) {
  std::vector<std::size_t> sizes;
  for (const std::string& part : split(text, flag)) {
    const std::size_t dots = part.find("..");
    const std::size_t first = parse_bytes(part.substr(0, dots), flag);
    if (dots == std::string::npos) {
      sizes.push_back(first);
      continue;
    }
    const std::size_t last = parse_bytes(part.substr(dots + 2), flag);
    if (last < first) refuse(flag, "'" + part + "' ends below where it begins");
    for (std::size_t size = first; size <= last; size *= 2) sizes.push_back(size);
  }
  std::sort(sizes.begin(), sizes.end());
  sizes.erase(std::unique(sizes.begin(), sizes.end()), sizes.end());
  return sizes;
}

Memory BenchFlags::memory() const {
  if (device == "host") return Memory::host;
  if (device != "cuda") refuse("device", "does not know '" + device + "'; it takes host or cuda");
  return Memory::cuda;
}

void add_bench_flags(CLI::App& command, BenchFlags& flags) {
  command.add_option("--device", flags.device, "Whose memory operands are in: host, or cuda")
      ->capture_default_str()
      ->type_name("NAME");
  command
      .add_option("--ops", flags.ops,
                  "Which collectives, comma-separated: all_reduce, all_gather, reduce_scatter, "
                  "broadcast, barrier, agreement, and host, the work of a call alone (default all)")
      ->type_name("LIST");
  command
      .add_option("--ranks", flags.ranks,
                  "How many ranks, comma-separated: one run after the other")
      ->capture_default_str()
      ->type_name("LIST");
  command
      .add_option(
          "--bytes", flags.bytes,
          "Sizes of the larger operand in bytes, Ki or Mi, comma-separated; 8..8Mi is by doubling")
      ->capture_default_str()
      ->type_name("LIST");
  command.add_option("--dtype", flags.dtype, "Element type: f32, i32 or i64")
      ->capture_default_str()
      ->type_name("TYPE");
  command
      .add_option("--peers", flags.peers,
                  "What to measure beside cohort: auto (all that are there), none, or a list of "
                  "openmpi, mpich, gloo, shm")
      ->capture_default_str()
      ->type_name("LIST");
  command
      .add_option("--peer-folder", flags.peer_folder,
                  "Where the peers' programs lie (default bench_peers beside this command)")
      ->type_name("FOLDER");
  command
      .add_option("--against", flags.against,
                  "Another build of this command, to be measured beside it")
      ->type_name("PROGRAM");
  command
      .add_option("--operands", flags.operands,
                  "Where operands lie: heap (symmetric memory), ordinary (any other), or both")
      ->capture_default_str()
      ->type_name("LIST");
  command
      .add_option("--buffers", flags.buffers,
                  "warm (the same memory in every call), rotating (other memory in every call, "
                  "more than caches hold), or both")
      ->capture_default_str()
      ->type_name("LIST");
  command.add_flag("--in-place", flags.in_place,
                   "Everybody works in place, with the operand where its result belongs: "
                   "all_reduce and all_gather, which all implementations understand alike");
  command.add_option("--rounds", flags.rounds, "How often every implementation has its turn")
      ->capture_default_str()
      ->type_name("N");
  command.add_option("--seconds", flags.seconds, "How long to time one implementation at one size")
      ->capture_default_str()
      ->type_name("SECONDS");
  command.add_flag("--quick", flags.quick,
                   "Few sizes, warm buffers, few calls: a look, not a measurement");
  add_verbosity_flags(command, flags.verbosity, "No progress, and no remarks on the way");
  command.add_flag("--json", flags.json, "Print one JSON document instead of a table");
  command
      .add_option("--report", flags.report,
                  "Also write one page that shows the measurement, for a browser")
      ->type_name("FILE.html");
  command.add_option("--plot", flags.plot, "Also draw the times over the sizes, as SVG")
      ->type_name("FILE.svg");
  add_path_flags(command, flags.paths, /*with_gpus=*/true);
}

BenchOptions read_bench_flags(const BenchFlags& given) {
  const BenchFlags flags = given.memory() == Memory::cuda ? on_gpus(given) : given;
  BenchOptions options;
  options.memory = flags.memory();
  options.ops = names_of(flags.ops, "ops", kOps);
  options.ranks = parse_ranks(flags.ranks);
  options.dtype = flags.dtype;
  if (element_bytes(options.dtype) == 0) {
    refuse("dtype", "does not know '" + options.dtype + "'; it takes f32, i32 or i64");
  }
  const bool sizes_given = flags.bytes != BenchFlags{}.bytes;
  options.bytes =
      parse_byte_list(flags.quick && !sizes_given ? "8,4Ki,256Ki" : flags.bytes, "bytes");
  if (flags.peers == "auto") {
    options.peers = {"auto"};
  } else if (flags.peers != "none") {
    options.peers = names_of(flags.peers, "peers", kPeers);
  }
  options.peer_folder = flags.peer_folder;
  options.against = flags.against;
  if (!options.against.empty() && ::access(options.against.c_str(), X_OK) != 0) {
    refuse("against", "'" + options.against + "' is no program");
  }
  const auto operands = names_of(flags.operands, "operands", {"heap", "ordinary"});
  const auto buffers = names_of(flags.buffers, "buffers", {"warm", "rotating"});
  // Refused here, once, and not by every rank.
  static_cast<void>(flags.paths.table(options.memory));
  options.rank_arguments = flags.paths.arguments();
  if (options.memory == Memory::cuda) {
    options.rank_arguments.insert(options.rank_arguments.end(), {"--device", "cuda"});
  }
  options.heap = contains(operands, "heap");
  options.ordinary = contains(operands, "ordinary");
  options.warm = contains(buffers, "warm");
  options.rotating = contains(buffers, "rotating") && !(flags.quick && options.warm);
  options.in_place = flags.in_place;
  const bool any = std::any_of(options.ops.begin(), options.ops.end(),
                               [](const std::string& op) { return has_in_place_form(op); });
  if (flags.in_place && !any) refuse("in-place", "needs all_reduce or all_gather in --ops");
  if (flags.rounds < 1 || flags.rounds > 1000) refuse("rounds", "is not from 1 to 1000");
  if (!(flags.seconds > 0 && flags.seconds <= 60)) {
    refuse("seconds", "is not above 0 and at most 60");
  }
  options.rounds = flags.quick ? std::min(flags.rounds, 2U) : flags.rounds;
  options.seconds = flags.quick ? std::min(flags.seconds, 0.01) : flags.seconds;
  return options;
}

}  // namespace cohort::bench
