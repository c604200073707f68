#pragma once

// The rank's side of a measurement: takes jobs from the command, runs them, answers with times.
// Standard library only: the programs of other libraries under benchmarks/peers compile it too.
//
// Every rank of every measured implementation connects to the command's socket by itself, and
// sleeps in read() while another implementation is measured. Lines:
//   rank -> command    rank 1 of 2
//   command -> rank    verify JOB        answered by   ok PATH | wrong TEXT | unsupported
//   command -> rank    time JOB          answered by   times N, then N binary floats: us per call
//   command -> rank    facts             answered by   facts NAME=NUMBER ...
//   command -> rank    table             answered by   table TEXT
//   command -> rank    quit

#include <cstddef>
#include <cstdint>
#include <string>

#include "bench_job.hpp"

namespace cohort::bench {

/// What the command tells a measured program by its environment.
struct WorkerSettings {
  std::string socket;            ///< COHORT_BENCH_SOCKET, an abstract name
  std::string memory;            ///< COHORT_BENCH_MEMORY, a file that all ranks may map
  std::string name;              ///< COHORT_BENCH_NAME, which implementation this rank belongs to
  std::size_t bytes_max = 0;     ///< COHORT_BENCH_BYTES_MAX, of any job
  std::uint32_t rank = 0;        ///< COHORT_RANK, where the program's own library has no other way
  std::uint32_t rank_count = 1;  ///< COHORT_WORLD_SIZE
};

/// Throws: std::runtime_error naming the variable that is missing or no number.
WorkerSettings worker_settings();

/// Bytes of one pool of operands: with two of them on every rank more than the caches hold.
std::size_t pool_bytes(std::size_t bytes_max) noexcept;

/// Memory for operands, of `pool_bytes`.
struct Pools {
  std::byte* input = nullptr;
  std::byte* output = nullptr;
};

/// Ordinary memory, written to once so that no page is missing. Never freed.
Pools ordinary_pools(std::size_t bytes);

/// One measured implementation on one rank.
class Subject {
 public:
  Subject() = default;
  virtual ~Subject() = default;
  Subject(const Subject&) = delete;
  Subject& operator=(const Subject&) = delete;

  virtual std::uint32_t rank() const = 0;
  virtual std::uint32_t rank_count() const = 0;
  virtual bool supports(const Job& job) const = 0;
  virtual Pools pools(const Job& job) = 0;
  /// Called before the calls of a job: whatever does not belong to a call.
  virtual void begin(const Job& /*job*/) {}
  /// What each call needs done before, and is not timed.
  virtual void prepare_run() {}
  virtual bool prepares_runs() const { return false; }
  /// One call: the operand at `input`, the result to `output`; of broadcast only `output` is used.
  virtual void run(const std::byte* input, std::byte* output) = 0;
  /// Calls that one `run` makes, where one alone is too short to be timed.
  virtual std::size_t calls_per_run() const { return 1; }
  /// One call whose result is looked at, where `run` makes several.
  virtual void run_once(const std::byte* input, std::byte* output) { run(input, output); }
  /// Between host memory and the pools.
  virtual void store(std::byte* to, const std::byte* from, std::size_t bytes);
  virtual void load(std::byte* to, const std::byte* from, std::size_t bytes);
  /// The path that the last call took, for implementations that say so.
  virtual std::string path() const { return "-"; }
  virtual std::string facts() { return ""; }
  /// Which table of paths is in force, for implementations that have any.
  virtual std::string table() const { return "-"; }
};

/// Runs one job on poisoned memory with fresh values; what is wrong with the result, or "".
std::string verify(Subject& subject, const Job& job);

/// Binds this thread to a CPU; ranks take the usable ones in turn. Left to the system, three ranks
/// of four may sit on one of two CPUs for as long as a measurement takes.
void bind_to_cpu(std::uint32_t rank);

/// Serves the command until it says quit or goes away. Throws: what `subject` throws, and
/// std::runtime_error if the command cannot be reached.
void serve(Subject& subject, const WorkerSettings& settings);

}  // namespace cohort::bench
