#include "bench_run.hpp"

#include <algorithm>
#include <memory>
#include <numeric>
#include <set>
#include <sstream>

#include <cohort/error.hpp>

#include "base/bytes.hpp"
#include "base/system_limits.hpp"
#include "progress.hpp"

namespace cohort::bench {
namespace {

constexpr std::size_t kCallsMax = 2000;
constexpr std::size_t kCallsMin = 5;
constexpr std::size_t kMemcpyBytesMin = 16 * 1024;  // below it a copy is not what takes the time
constexpr std::size_t kBarrierBytesMax = 64;

/// What all implementations are measured at, in turns.
struct Cell {
  std::string op;
  std::size_t bytes = 0;
  bool rotating = false;
};

std::vector<Cell> cells_of(const BenchOptions& options, std::uint32_t ranks) {
  std::vector<Cell> cells;
  for (const std::string& op : options.ops) {
    if (options.in_place && !has_in_place_form(op)) continue;
    if (op == "host") {
      for (const char* name : {"explain", "local"}) cells.push_back({name, 0, false});
      continue;
    }
    std::set<std::size_t> seen;
    for (const std::size_t wanted : options.bytes) {
      const std::size_t bytes = rounded_bytes(op, options.dtype, wanted, ranks);
      if (!seen.insert(bytes).second) continue;
      if (options.warm) cells.push_back({op, bytes, false});
      if (options.rotating && bytes > 256) cells.push_back({op, bytes, true});
    }
  }
  return cells;
}

/// One implementation with one kind of operands in one cell.
struct Contender {
  RankSet* set;
  Job job;
  std::string path;
  std::vector<float> samples;
};

class Run {
 public:
  Run(const BenchOptions& options, std::uint32_t ranks, Progress& progress,
      Measurement& measurement)
      : options_(options), ranks_(ranks), progress_(progress), measurement_(measurement) {
    const std::uint32_t cpus = usable_cpu_count();
    spins_ = ranks <= cpus;
    Implementation own{"cohort", "", "", {"cohort", "bench"}, false, {}};
    own.arguments.insert(own.arguments.end(), options.rank_arguments.begin(),
                         options.rank_arguments.end());
    own_ = start(own);
    if (options.memory == Memory::cuda) return;
    reference_ = start({"reference", "", "", {"cohort", "bench"}, false, {}});
    const PeerList peers = find_peers(options, ranks, cpus);
    for (const MissingPeer& missing : peers.missing) remark(missing.name, missing.why);
    for (const Implementation& peer : peers.implementations) {
      try {
        peers_.push_back(start(peer));
      } catch (const Error& error) {
        remark(label_of(peer), error.what());
      }
    }
  }

  void measure_all() {
    for (const Cell& cell : cells_of(options_, ranks_)) {
      measure_cell(cell);
      progress_.advance();
    }
    collect_facts();
  }

 private:
  std::unique_ptr<RankSet> start(const Implementation& implementation) {
    progress_.begin("starting " + std::to_string(ranks_) + " ranks of " + label_of(implementation));
    const std::size_t bytes_max = *std::max_element(options_.bytes.begin(), options_.bytes.end());
    return std::make_unique<RankSet>(implementation, ranks_,
                                     2 * std::max<std::size_t>(bytes_max, 4096));
  }

  void remark(const std::string& who, const std::string& text) {
    const bool said =
        std::any_of(measurement_.remarks.begin(), measurement_.remarks.end(),
                    [&](const Remark& known) { return known.who == who && known.text == text; });
    if (said) return;
    progress_.note(who + ": " + text);
    measurement_.remarks.push_back({who, text});
  }

  /// Adds the contender if it can do the job and does it right.
  bool admit(std::vector<Contender>& contenders, RankSet& set, Job job) {
    job.seed = ++seed_;
    const auto answers = set.ask("verify " + to_line(job));
    for (std::uint32_t rank = 0; rank < answers.size(); ++rank) {
      const std::string& answer = answers[rank];
      if (answer == "unsupported") return false;
      if (answer.starts_with("ok ")) continue;
      const std::string what = "wrong result of " + job.op + " (" + job.dtype + ", " +
                               std::to_string(job.bytes) + " bytes) on rank " +
                               std::to_string(rank) + " of " + std::to_string(ranks_) + ": " +
                               answer;
      if (&set != own_.get()) {
        remark(label_of(set.implementation()), what);
        return false;
      }
      throw Error(ErrorCode::mismatch, what, WorldRank{rank}, "bench");
    }
    contenders.push_back({&set, job, answers[0].substr(3), {}});
    return true;
  }

  std::vector<Contender> contenders_of(const std::string& op, std::size_t bytes, bool rotating) {
    Job job{
        op, op == "agreement" ? "i64" : options_.dtype, bytes, rotating, true, options_.in_place, 1,
        1};
    std::vector<Contender> contenders;
    const bool has_operands = has_result(op);
    if (options_.heap || !has_operands) admit(contenders, *own_, job);
    job.in_heap = false;
    if (options_.ordinary && has_operands && op != "agreement") admit(contenders, *own_, job);
    for (const auto& peer : peers_) {
      // Another build of cohort takes the operands where this one takes them.
      job.in_heap = options_.heap && peer->implementation().name == "against";
      admit(contenders, *peer, job);
    }
    if (!reference_) return contenders;
    const std::size_t received = received_bytes(job, ranks_);
    if (received >= kMemcpyBytesMin) {
      Job copy = job;
      copy.in_place = false;
      copy.bytes = received;
      for (const char* name : {"memcpy", "memcpy_cached"}) {
        copy.op = name;
        if (!rotating || copy.op == "memcpy") admit(contenders, *reference_, copy);
      }
    }
    if (op == "barrier" || (op == "all_reduce" && bytes <= kBarrierBytesMax)) {
      job.bytes = 0;
      for (const char* name : {"yield_barrier", "spin_barrier"}) {
        job.op = name;
        if (spins_ || job.op == "yield_barrier") admit(contenders, *reference_, job);
      }
    }
    return contenders;
  }

  void measure_cell(const Cell& cell) {
    progress_.begin(cell.op + " " + format_bytes(cell.bytes) + (cell.rotating ? " rotating" : "") +
                    " on " + std::to_string(ranks_) + " ranks");
    std::vector<Contender> contenders = contenders_of(cell.op, cell.bytes, cell.rotating);
    const double round_us = options_.seconds * 1e6 / options_.rounds;
    for (Contender& contender : contenders) {
      contender.job.count = 3;
      const Times trial = summarise(contender.set->time(contender.job));
      contender.job.count = std::clamp(
          static_cast<std::size_t>(round_us / std::max(trial.p50_us, 0.01)), kCallsMin, kCallsMax);
    }
    for (std::uint32_t round = 0; round < options_.rounds; ++round) {
      for (std::size_t turn = 0; turn < contenders.size(); ++turn) {
        // Another one begins each round: who follows whom is nobody's advantage.
        Contender& contender = contenders[(turn + round) % contenders.size()];
        const std::vector<float> times = contender.set->time(contender.job);
        contender.samples.insert(contender.samples.end(), times.begin(), times.end());
      }
    }
    add_rows(cell.op, contenders);
  }

  void add_rows(const std::string& op, const std::vector<Contender>& contenders) {
    std::map<std::string, PeerTimes> peers;
    std::map<std::string, Times> references;
    for (const Contender& contender : contenders) {
      const Times times = summarise(contender.samples);
      const Implementation& from = contender.set->implementation();
      if (contender.set == reference_.get()) {
        references[contender.job.op] = times;
      } else if (contender.set != own_.get()) {
        const auto known = peers.find(from.name);
        if (known == peers.end() || times.p50_us < known->second.times.p50_us) {
          peers[from.name] = {times, from.setting};
        }
      }
    }
    for (const Contender& contender : contenders) {
      if (contender.set != own_.get()) continue;
      const Job& job = contender.job;
      measurement_.rows.push_back({op, job.dtype, ranks_, job.bytes, contender.path, job.rotating,
                                   job.in_heap, job.in_place, summarise(contender.samples), peers,
                                   references});
    }
  }

  void collect_facts() {
    const std::string table = own_->ask("table").front();
    measurement_.table = table.substr(table.find(' ') + 1);
    const auto answers = own_->ask("facts");
    for (std::uint32_t rank = 0; rank < answers.size(); ++rank) {
      RankFacts facts{ranks_, rank, {}};
      std::istringstream words(answers[rank]);
      for (std::string word; words >> word;) {
        const std::size_t sign = word.find('=');
        if (sign != std::string::npos) {
          facts.values[word.substr(0, sign)] = std::stoull(word.substr(sign + 1));
        }
      }
      measurement_.facts.push_back(std::move(facts));
    }
  }

  const BenchOptions& options_;
  std::uint32_t ranks_;
  Progress& progress_;
  Measurement& measurement_;
  bool spins_ = true;
  std::uint64_t seed_ = 0;
  std::unique_ptr<RankSet> own_;
  std::unique_ptr<RankSet> reference_;
  std::vector<std::unique_ptr<RankSet>> peers_;
};

}  // namespace

Times summarise(std::vector<float> samples) {
  std::sort(samples.begin(), samples.end());
  const auto at = [&](double part) {
    return static_cast<double>(
        samples[static_cast<std::size_t>(part * static_cast<double>(samples.size() - 1))]);
  };
  Times times;
  times.min_us = at(0);
  times.p50_us = at(0.5);
  times.p99_us = at(0.99);
  times.mean_us =
      std::accumulate(samples.begin(), samples.end(), 0.0) / static_cast<double>(samples.size());
  times.calls = samples.size();
  return times;
}

Measurement measure(const BenchOptions& options, Progress& progress) {
  Measurement measurement;
  measurement.memory = options.memory;
  for (const std::uint32_t ranks : options.ranks) {
    progress.expect(cells_of(options, ranks).size());
  }
  for (const std::uint32_t ranks : options.ranks) {
    Run(options, ranks, progress, measurement).measure_all();
  }
  return measurement;
}

std::optional<std::string> best_peer(const Row& row) {
  std::optional<std::string> best;
  for (const auto& [name, peer] : row.peers) {
    if (!best || peer.times.p50_us < row.peers.at(*best).times.p50_us) best = name;
  }
  return best;
}

}  // namespace cohort::bench
