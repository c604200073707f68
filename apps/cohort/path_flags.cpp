#include "path_flags.hpp"

#include <CLI/CLI.hpp>

#include <cohort/error.hpp>
#include <cohort/version.hpp>

#include "input_file.hpp"
#include "session/device_api.hpp"
#include "session/gpus.hpp"

namespace cohort {

namespace {

constexpr std::size_t kFileBytesMax = 4 << 20;

[[noreturn]] void refuse(const std::string& problem) {
  throw Error(ErrorCode::usage, problem, std::nullopt, "arguments");
}

PathTable parse_file(const std::string& name) {
  try {
    return PathTable::parse(
        read_input_file("--path-table " + name, name, kFileBytesMax, InputReaders::all_ranks));
  } catch (const Error& error) {
    if (error.code() != ErrorCode::corrupt) throw;
    throw Error(ErrorCode::corrupt, "--path-table " + name + ": " + error.what(), std::nullopt,
                "arguments");
  }
}

[[noreturn]] void refuse_origin(const std::string& name, const PathTable& table,
                                const std::string& there, const std::string& here,
                                const std::string& again) {
  refuse("--path-table " + name + " was measured on " + there + " with cohort " + table.version() +
         ", this is " + here + " with cohort " COHORT_VERSION + ": measure here with '" + again +
         " -o FILE', or add --any-machine to use it all the same");
}

/// Thresholds follow from caches, cores and code: elsewhere they may be far from the best. On GPUs
/// the host has no part in them.
void check_origin(const std::string& name, const PathTable& table, Memory memory) {
  const bool same_version = table.version() == COHORT_VERSION;
  if (memory == Memory::cuda && table.gpus()) {
    const Gpus here = gpus_of_process(device_api());
    if (here == *table.gpus() && same_version) return;
    refuse_origin(name, table, to_string(*table.gpus()), to_string(here),
                  "cohort tune --device cuda");
  }
  const Machine here = this_machine();
  const Machine there = table.machine().value_or(here);
  if (there == here && same_version) return;
  refuse_origin(name, table, to_string(there), to_string(here), "cohort tune");
}

const std::vector<std::string> kHostPaths{"host_inline", "host_direct", "host_staged"};

}  // namespace

PathTable PathFlags::table(Memory memory) const {
  if (!path.empty() && !table_file.empty()) {
    refuse("--path contradicts --path-table: give one of them");
  }
  if (any_machine && table_file.empty()) refuse("--any-machine says nothing without --path-table");
  if (!table_file.empty()) {
    PathTable table = parse_file(table_file);
    if (!any_machine) check_origin(table_file, table, memory);
    return table;
  }
  for (std::size_t i = 0; i < kPathCount && !path.empty(); ++i) {
    if (to_string(static_cast<Path>(i)) == path) return PathTable::pinned(static_cast<Path>(i));
  }
  return {};
}

std::vector<std::string> PathFlags::arguments() const {
  std::vector<std::string> result;
  if (!path.empty()) result.insert(result.end(), {"--path", path});
  if (!table_file.empty()) result.insert(result.end(), {"--path-table", table_file});
  if (any_machine) result.emplace_back("--any-machine");
  return result;
}

void add_path_flags(CLI::App& command, PathFlags& flags, bool with_gpus) {
  std::vector<std::string> paths = kHostPaths;
  std::string what =
      "Every call takes this path: host_inline, host_direct or host_staged. What is too large for "
      "host_inline takes host_direct, and its reason says so";
  if (with_gpus) {
    paths.insert(paths.end(), {"gpu_ll", "gpu_lamport", "gpu_two_shot"});
    what +=
        ". On GPUs: gpu_ll, gpu_lamport or gpu_two_shot; what gpu_ll or gpu_two_shot cannot do "
        "takes gpu_lamport";
  }
  command.add_option("--path", flags.path, what)->check(CLI::IsMember(paths))->type_name("PATH");
  command
      .add_option("--path-table", flags.table_file,
                  "Which path each call takes, as 'cohort tune' measured it (default: built in)")
      ->type_name("FILE.json");
  command.add_flag("--any-machine", flags.any_machine,
                   "Use --path-table even if it was measured elsewhere");
}

}  // namespace cohort
