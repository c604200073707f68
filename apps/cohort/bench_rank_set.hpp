#pragma once

// The running ranks of one measured implementation, as the command sees them.

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/unique_fd.hpp"
#include "bench_job.hpp"

namespace cohort::bench {

/// How an implementation is started.
struct Implementation {
  std::string name;                    ///< "cohort", "reference" or the peer's
  std::string setting;                 ///< which of the peer's settings, "" if it has but one
  std::string program;                 ///< started once for every rank; empty: this very command
  std::vector<std::string> arguments;  ///< of the program, its name first
  bool starts_its_ranks = false;       ///< the program is a launcher of its own: started once
  std::vector<std::pair<std::string, std::string>> environment;
};

/// Implementation and setting in one word, for progress: "openmpi/eager64k".
std::string label_of(const Implementation& implementation);

class RankSet {
 public:
  /// Starts the ranks and waits until all have connected.
  /// Throws: Error{system, timeout} with the last line the ranks wrote.
  RankSet(const Implementation& implementation, std::uint32_t rank_count, std::size_t bytes_max);
  /// Asks the ranks to end, then makes them.
  ~RankSet();
  RankSet(const RankSet&) = delete;
  RankSet& operator=(const RankSet&) = delete;

  const Implementation& implementation() const noexcept { return implementation_; }
  std::uint32_t rank_count() const noexcept { return static_cast<std::uint32_t>(ranks_.size()); }

  /// Sends `line` to every rank; one answer of each, by rank. Throws: Error{peer_failed}.
  std::vector<std::string> ask(const std::string& line);
  /// Runs a job; us per call, the longest of all ranks', one for each run: at most as many as the
  /// job has calls. Throws: Error{peer_failed}.
  std::vector<float> time(const Job& job);

 private:
  void start(const std::string& socket_name, std::size_t bytes_max);
  void accept_ranks(const UniqueFd& listener);
  void read_bytes(std::uint32_t rank, void* data, std::size_t bytes);
  std::string read_line(std::uint32_t rank);
  std::size_t count_of_times(const std::string& answer, std::size_t most);
  [[noreturn]] void fail(const std::string& what);
  std::string last_words() const;
  bool ended() noexcept;
  void end_launcher() noexcept;

  Implementation implementation_;
  double scale_;  // of every deadline
  std::vector<UniqueFd> ranks_;
  UniqueFd memory_;  // what the ranks may share
  UniqueFd output_;  // what they write
  pid_t launcher_ = -1;
};

}  // namespace cohort::bench
