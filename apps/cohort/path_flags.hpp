#pragma once

#include <string>
#include <vector>

#include <cohort/memory.hpp>
#include <cohort/path_table.hpp>

namespace CLI {
class App;
}

namespace cohort {

/// The flags that decide which paths calls take, as given.
struct PathFlags {
  std::string path{};
  std::string table_file{};
  bool any_machine = false;

  /// The table they state; the built-in one if none is given. Reads the file. A table measured on
  /// GPUs is held against those of this machine for calls in their memory. Local.
  /// Throws: Error{usage} for flags that contradict each other, a file that cannot be read or a
  /// table of another machine, Error{corrupt} naming file and field, Error{unsupported, cuda}.
  PathTable table(Memory memory = Memory::host) const;
  /// These flags as another process of this command takes them. Pure.
  std::vector<std::string> arguments() const;
};

/// Adds `--path`, `--path-table` and `--any-machine` to a command; `flags` is filled when the
/// command is parsed and must outlive that. `with_gpus`: paths of GPUs can be named too. Local.
void add_path_flags(CLI::App& command, PathFlags& flags, bool with_gpus = false);

}  // namespace cohort
