#include "check.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <iterator>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <system_error>
#include <vector>

#include <CLI/CLI.hpp>

#include <cohort/bootstrap.hpp>
#include <cohort/error.hpp>
#include <cohort/world.hpp>

#include "base/bytes.hpp"
#include "base/clock.hpp"
#include "base/unique_fd.hpp"
#include "bench_peers.hpp"
#include "check/gpu_facts.hpp"
#include "check/host_facts.hpp"
#include "check/judge.hpp"
#include "check/rank_probe.hpp"
#include "check/rank_report.hpp"
#include "check_output.hpp"
#include "exit_status.hpp"
#include "launch_output.hpp"
#include "rendezvous/launched_rank.hpp"
#include "rendezvous/launcher.hpp"
#include "rendezvous/protocol.hpp"

namespace cohort {

namespace {

constexpr std::uint64_t kArenaBytesMax = std::uint64_t{1} << 46;
// Where ranks leave their reports: a place of this size for each, in a memory file.
constexpr std::size_t kReportBytes = 8192;
constexpr const char* kReportVariable = "COHORT_CHECK_REPORT";
constexpr const char* kBeganVariable = "COHORT_CHECK_BEGAN_NS";

struct CheckFlags {
  std::uint32_t ranks = 2;
  std::string arena;
  double deadline_s = 10;
  bool json = false;
};

constexpr const char* kFooter =
    R"(Looks at what ranks need, then starts some and lets them join, share memory and time each
other. Each row has what was found, what it means for ranks, and what to do about it:
  ok       nothing to do
  warning  ranks run, but slower, or with less help when one of them dies
  problem  so many ranks, or arenas of that size, are impossible here
Nothing stays behind, and no memory is taken for --arena: its size is held against what is free.

Exit codes: 0 without a problem; 1 with one; 2 for wrong flags; 130 and 143 after Ctrl-C and
SIGTERM.

Examples:
  # Can two ranks run here, and how fast do they reach each other?
  cohort check

  # Eight ranks, each with an arena as 'cohort plan' prints it:
  cohort check --ranks 8 --arena 512MiB

  # In the container or job that is to run the model, for a script:
  cohort check --ranks 8 --json > check.json)";

[[noreturn]] void refuse(const std::string& problem) {
  throw Error(ErrorCode::usage, problem, std::nullopt, "arguments");
}

check::Wanted wanted_by(const CheckFlags& flags) {
  check::Wanted wanted{flags.ranks, std::nullopt};
  if (flags.ranks == 0 || flags.ranks > rendezvous::kRankCountMax) {
    refuse("--ranks " + std::to_string(flags.ranks) + " is not from 1 to " +
           std::to_string(rendezvous::kRankCountMax));
  }
  if (!flags.arena.empty()) {
    wanted.arena_bytes = parse_bytes(flags.arena);
    if (!wanted.arena_bytes || *wanted.arena_bytes == 0 || *wanted.arena_bytes > kArenaBytesMax) {
      refuse("--arena '" + flags.arena +
             "' is no size; give bytes, or a number with KiB, MiB or GiB, up to 64 TiB");
    }
  }
  return wanted;
}

WaitLimits limits_of(const CheckFlags& flags) {
  if (!(flags.deadline_s > 0 && flags.deadline_s <= 3600)) {
    refuse("--deadline must be more than 0 and at most 3600 seconds");
  }
  WaitLimits limits;
  limits.setup = std::chrono::milliseconds(std::max(std::lround(flags.deadline_s * 1000), 1L));
  limits.steady = limits.setup;
  limits.scale = deadline_scale_from_environment();
  return limits;
}

std::int64_t now_ns() {
  return std::chrono::nanoseconds(Clock::now().time_since_epoch()).count();
}

std::int64_t variable(const char* name) {
  const char* text = std::getenv(name);
  const std::string_view digits = text == nullptr ? "" : text;
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc{} || end != digits.data() + digits.size() || value < 0) {
    refuse(std::string(name) + " is not what `cohort check` gives its ranks");
  }
  return value;
}

/// This process's rank: leaves what it finds in the memory file of the command.
void run_check_rank(const CheckFlags& flags) {
  const int file = static_cast<int>(variable(kReportVariable));
  const std::int64_t began_ns = variable(kBeganVariable);
  auto bootstrap = Bootstrap::from_environment();
  const off_t place = static_cast<off_t>(bootstrap->rank().index() * kReportBytes);
  const auto publish = [&](const check::RankReport& report) {
    std::string text = to_text(report);
    text.resize(kReportBytes, '\0');
    // If that fails the report is missing, which says enough.
    static_cast<void>(::pwrite(file, text.data(), text.size(), place));
  };
  check::RankReport report;
  std::optional<World> world;
  try {
    world.emplace(World::join(std::move(bootstrap), limits_of(flags)));
    report.join_seconds = static_cast<double>(now_ns() - began_ns) * 1e-9;
    publish(report);
    check::probe_ranks(*world, wanted_by(flags), report, publish);
  } catch (const Error& error) {
    if (world) world->fail(error);
    if (!report_error(error)) throw;
    throw ExitStatus{error.exit_code()};
  }
}

/// What ranks found, and what their job ended with if it failed.
struct RanksOutcome {
  std::vector<check::RankReport> reports;
  std::optional<std::string> fault;
};

std::string text_of_place(int file, std::uint32_t rank) {
  std::string text(kReportBytes, '\0');
  const ssize_t bytes =
      ::pread(file, text.data(), text.size(), static_cast<off_t>(rank * kReportBytes));
  text.resize(bytes > 0 ? static_cast<std::size_t>(bytes) : 0);
  return text;
}

/// Starts the ranks and waits for their end. What stops them is a finding, not an error; only an
/// interruption ends the command.
RanksOutcome run_ranks(const CheckFlags& flags, const ProgramArguments& arguments,
                       std::ostream& output, std::ostream& errors) {
  RanksOutcome outcome{std::vector<check::RankReport>(flags.ranks), std::nullopt};
  try {
    // Ranks inherit it, at the same number.
    const UniqueFd low(::memfd_create("cohort-check-reports", 0));
    const UniqueFd file(low ? ::fcntl(low.get(), F_DUPFD, STDERR_FILENO + 1) : -1);
    if (!file) {
      throw Error(ErrorCode::system,
                  "no memory for the ranks' reports: " + std::system_category().message(errno));
    }
    LaunchOptions options;
    options.rank_count = flags.ranks;
    options.arguments.assign(arguments.values, arguments.values + arguments.count);
    options.program = "/proc/self/exe";
    options.environment = {{kReportVariable, std::to_string(file.get())},
                           {kBeganVariable, std::to_string(now_ns())}};
    options.other_output = RankOutput::discard;
    options.output_to_errors = true;
    options.grace = std::chrono::milliseconds(1000);
    const LaunchResult result = launch(options);
    if (result.fault) {
      outcome.fault = result.fault->what();
    } else if (result.exit_code != 0) {
      throw ExitStatus{print_launch_result(result, flags.json, output, errors)};
    }
    for (std::uint32_t rank = 0; rank < flags.ranks; ++rank) {
      outcome.reports[rank] = check::parse_rank_report(text_of_place(file.get(), rank));
    }
  } catch (const Error& error) {
    outcome.fault = error.what();
  }
  return outcome;
}

/// Which libraries `cohort bench` could measure beside its own collectives.
check::Row peers_row(const check::Wanted& wanted, std::uint32_t cpu_count) {
  bench::BenchOptions options;
  options.peers = {"auto"};
  const bench::PeerList list = bench::find_peers(options, wanted.ranks, cpu_count);
  std::set<std::string> names;
  for (const bench::Implementation& found : list.implementations) names.insert(found.name);
  std::string value;
  for (const std::string& name : names) value += (value.empty() ? "" : ", ") + name;
  check::Row row{"peers", value.empty() ? "none" : value, check::Status::ok, "", ""};
  row.meaning = "What `cohort bench` can measure beside cohort; no rank needs any of them.";
  if (!list.missing.empty()) row.meaning += " Not there:";
  for (const bench::MissingPeer& missing : list.missing) {
    row.meaning += ' ' + missing.name + (&missing == &list.missing.back() ? "." : ",");
  }
  if (names.empty()) row.meaning += " A build with -DCOHORT_BENCHMARKS=ON has them.";
  return row;
}

void run_check(const CheckFlags& flags, const ProgramArguments& arguments, std::ostream& output,
               std::ostream& errors) {
  const check::Wanted wanted = wanted_by(flags);
  static_cast<void>(limits_of(flags));
  const check::HostFacts facts = check::read_host_facts();
  const RanksOutcome outcome = run_ranks(flags, arguments, output, errors);
  std::vector<check::Row> rows = check::judge(facts, wanted, outcome.reports, outcome.fault);
  // Last: a process that has asked CUDA starts no ranks any more.
  std::ranges::move(check::judge_gpus(check::read_gpu_facts()), std::back_inserter(rows));
  rows.push_back(peers_row(wanted, facts.usable_cpus));
  if (flags.json) {
    print_rows_as_json(rows, output);
  } else {
    print_rows(rows, wanted, output);
  }
  if (!ranks_are_possible(rows)) throw ExitStatus{1};
}

}  // namespace

void add_check_command(CLI::App& app, const ProgramArguments& arguments, std::ostream& output,
                       std::ostream& errors) {
  const auto flags = std::make_shared<CheckFlags>();
  CLI::App* command =
      app.add_subcommand("check", "Probe this machine: can ranks run here, and how well");
  command->add_option("-n,--ranks", flags->ranks, "How many ranks to try (default 2)")
      ->type_name("N");
  command
      ->add_option("--arena", flags->arena,
                   "Memory that each rank would share, e.g. 512MiB: what `cohort plan` prints as "
                   "the arena of every rank (default: none)")
      ->type_name("SIZE");
  command
      ->add_option("--deadline", flags->deadline_s,
                   "How long the ranks may take to join and to answer (default 10)")
      ->type_name("SECONDS");
  command->add_flag("--json", flags->json, "Print one JSON document instead of a table");
  command->footer(kFooter);
  command->callback([flags, arguments, &output, &errors] {
    if (std::getenv(kReportVariable) != nullptr) {
      run_check_rank(*flags);
    } else {
      run_check(*flags, arguments, output, errors);
    }
  });
}

}  // namespace cohort
