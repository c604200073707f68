#include "bench.hpp"

#include <cstdlib>
#include <memory>
#include <optional>

#include <CLI/CLI.hpp>

#include <cohort/error.hpp>

#include "bench_layer.hpp"
#include "bench_options.hpp"
#include "bench_output.hpp"
#include "bench_run.hpp"
#include "bench_subject.hpp"
#include "exit_status.hpp"
#include "interruption.hpp"
#include "output_file.hpp"
#include "progress.hpp"
#include "report/page.hpp"

namespace cohort {

namespace {

constexpr const char* kFooter =
    R"(Every result is checked against a reference before anything is timed. Then implementations
take turns, round after round, in one run. A time is that of the slowest rank. `bytes` are those of
the larger operand: of all_gather the output, of reduce_scatter the input. `agreement` is the
reduction of a 256-byte record; `host` times a call's own work: `explain`, and a whole call on a
group of one rank. Peers are measured with the best of a few settings at each size. With
--device cuda every rank has the GPU of its number, calls are replays of graphs, and a time is that
of a graph over its calls; cohort is measured alone.

Exit codes: 0 when cohort was measured, also if a peer could not be and is named instead; 2 for
wrong flags and for a machine without what --device asks for; 130 and 143 after Ctrl-C and SIGTERM;
1 for all else: a wrong result, ranks that fail.

Examples:
  # A look at this machine in a few seconds, cohort alone:
  cohort bench --quick --peers none

  # One operation on growing groups, as a document and as a page with pictures;
  # without --quick it is a measurement:
  cohort bench --ranks 2,4 --ops all_reduce --quick --json \
    --report all_reduce.html

  # Two GPUs, every path that the table in force takes:
  cohort bench --device cuda --ops all_reduce,all_gather --bytes 1Ki..8Mi)";

/// Throws: ExitStatus where Ctrl-C or SIGTERM ended it, with all ranks.
bench::Measurement measure_until_stopped(const bench::BenchOptions& options,
                                         const Verbosity& verbosity, std::ostream& errors) {
  const Interruption interruption;
  Progress progress(errors, "bench", "points", verbosity);
  try {
    bench::Measurement measurement = bench::measure(options, progress);
    progress.end();
    return measurement;
  } catch (const Interrupted& interrupted) {
    progress.clear();
    errors << "cohort: interrupted; all ranks have ended" << std::endl;
    throw ExitStatus{interrupted.exit_code()};
  }
}

void run_bench(const bench::BenchFlags& flags, std::ostream& output, std::ostream& errors) {
  const bench::BenchOptions options = bench::read_bench_flags(flags);
  std::optional<OutputFile> report;
  if (!flags.report.empty()) report.emplace("--report", flags.report);
  std::optional<OutputFile> plot;
  if (!flags.plot.empty()) plot.emplace("--plot", flags.plot);
  const bench::Measurement measurement = measure_until_stopped(options, flags.verbosity, errors);
  const auto write_files = [&] {
    if (plot) plot->write(bench::draw_plot(measurement));
    if (report) report->write(command_report("bench", bench::document_text(measurement)));
  };
  // One document on standard output: the measurement's, or the error's of a file.
  if (flags.json) {
    write_files();
    bench::print_document(measurement, output);
  } else {
    bench::print_tables(measurement, output);
    write_files();
  }
}

}  // namespace

void add_bench_command(CLI::App& app, std::ostream& output, std::ostream& errors) {
  const auto flags = std::make_shared<bench::BenchFlags>();
  CLI::App* command =
      app.add_subcommand("bench", "Time collectives side by side with other libraries");
  bench::add_bench_flags(*command, *flags);
  command->footer(kFooter);
  command->require_subcommand(0, 1);
  add_bench_layer_command(*command, output, errors);
  command->callback([command, flags, &output, &errors] {
    if (!command->get_subcommands().empty()) return;
    if (std::getenv("COHORT_BENCH_SOCKET") != nullptr) {
      const Memory memory = flags->memory();
      bench::run_bench_rank(bench::worker_settings(), flags->paths.table(memory), memory);
    } else {
      run_bench(*flags, output, errors);
    }
  });
}

}  // namespace cohort
