#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <cohort/export.hpp>
#include <cohort/memory.hpp>
#include <cohort/verdict.hpp>

namespace cohort {

/// A path, and the largest agreed bytes for which it is taken.
struct PathStep {
  static constexpr std::size_t kUnlimited = std::numeric_limits<std::size_t>::max();
  Path path = Path::host_direct;
  std::size_t bytes_max = kUnlimited;
  friend bool operator==(const PathStep&, const PathStep&) = default;
};

/// The paths of one operation in groups of one size, by growing bytes; the last has no limit.
struct PathRow {
  Op op = Op::barrier;
  std::uint32_t ranks = 2;  ///< of the group
  bool crowded = false;     ///< the host has more ranks than CPUs, so that waiting ranks yield
  std::vector<PathStep> steps;
  Memory memory = Memory::host;  ///< of the plans that it serves; its paths are of this memory
  friend bool operator==(const PathRow&, const PathRow&) = default;
};

/// What a path table was measured on.
struct Machine {
  std::string cpu;  ///< model name, as the system spells it
  std::uint32_t cpus = 0;
  std::uint32_t numa_nodes = 0;
  friend bool operator==(const Machine&, const Machine&) = default;
};

/// How the GPUs of all ranks reach each other; of several kinds the least.
enum class GpuLink : std::uint8_t {
  unknown,  ///< ranks that do not see each other's devices
  shared,   ///< ranks on one device
  pcie,
  nvlink,
};
inline constexpr std::size_t kGpuLinkCount = 4;
COHORT_EXPORT std::string_view to_string(GpuLink link) noexcept;

/// The GPUs that a path table was measured on: the same device for every rank.
struct Gpus {
  std::string name;     ///< as the driver spells it
  std::string compute;  ///< capability, "9.0"
  std::string driver;   ///< the CUDA version that it supports, "13.0"
  GpuLink link = GpuLink::unknown;
  friend bool operator==(const Gpus&, const Gpus&) = default;
};
/// "NVIDIA H200 (compute 9.0, driver 13.0), nvlink".
COHORT_EXPORT std::string to_string(const Gpus& gpus);

/// Operations whose calls on GPUs are spread over threads alike.
enum class GridFamily : std::uint8_t {
  move,    ///< gathers, broadcast and exchanges
  reduce,  ///< all_reduce and reduce_scatter
};
inline constexpr std::size_t kGridFamilyCount = 2;
COHORT_EXPORT std::string_view to_string(GridFamily family) noexcept;
/// Pure.
COHORT_EXPORT GridFamily grid_family(Op op) noexcept;

/// Threads of a block, and the most lines for which there are so many. A line is 16 bytes of a
/// member's part, or 8 of one whose data carry flags.
struct GridStep {
  static constexpr std::uint64_t kUnlimited = std::numeric_limits<std::uint64_t>::max();
  std::uint32_t threads = 512;  ///< a multiple of 32
  std::uint64_t lines_max = kUnlimited;
  friend bool operator==(const GridStep&, const GridStep&) = default;
};

/// How calls of a family are spread over threads on GPUs, by growing lines; the last has no limit.
struct GridRow {
  GridFamily family = GridFamily::move;
  std::uint32_t ranks = 2;  ///< of the group
  std::vector<GridStep> steps;
  friend bool operator==(const GridRow&, const GridRow&) = default;
};

/// What of a table was measured on GPUs.
struct GpuMeasures {
  Gpus gpus;
  std::vector<GridRow> grids;
};

/// The kind of memory whose calls take a path; nothing for `local`, which serves both.
COHORT_EXPORT std::optional<Memory> memory_of(Path path) noexcept;

/// The machine that this process runs on; `cpus` are those it may use. Local.
COHORT_EXPORT Machine this_machine();
/// "AMD EPYC 9R14, 2 CPUs, 1 NUMA node".
COHORT_EXPORT std::string to_string(const Machine& machine);

/// Which path each call takes: a pure function of operation, group size and agreed bytes. A value:
/// cheap to copy, never changes. `commit` refuses ranks whose tables differ.
///
/// Agreed bytes are those of which all members know: the operand of all_reduce and broadcast, one
/// member's part of all_gather, the whole input of reduce_scatter and all_to_all; of v-forms the
/// largest member's part, or their sum. A recv takes the path of its send.
class COHORT_EXPORT PathTable {
 public:
  /// The built-in table: thresholds that do well on most machines.
  PathTable();

  /// A measured table. Rows may come in any order; an operation without rows of one kind of memory
  /// keeps the built-in ones. Local. Throws: Error{usage} naming the row that makes no sense.
  PathTable(std::vector<PathRow> rows, Machine machine, std::string version);

  /// The same, of GPUs too. Throws: Error{usage} naming the row or grid that makes no sense.
  PathTable(std::vector<PathRow> rows, Machine machine, std::string version, GpuMeasures measures);

  /// Every call takes this path. What is too large for host_inline takes host_direct, and what is
  /// too large for gpu_ll takes gpu_lamport, with reason `over_inline_limit`; what gpu_two_shot
  /// cannot do takes gpu_lamport, with reason `op_unsupported`. What NCCL does not take goes where
  /// the built-in table says, with reason `op_unsupported`, `nccl_version_refused` or, for
  /// nccl_symmetric, `operand_not_in_heap`; nccl_plain of operands in the arena may become
  /// nccl_symmetric, as NCCL chooses itself. A plan whose memory is another than
  /// the path's is refused. Local. Throws: Error{usage} for `local`, which no call can choose.
  static PathTable pinned(Path path);
  /// The same for a path of GPUs, with grids of one's own: to measure them. Throws: Error{usage}
  /// for other paths and for grids that make no sense.
  static PathTable pinned(Path path, std::vector<GridRow> grids);

  /// The table that comes with cohort for ranks on such GPUs, measured as the built-in one is not;
  /// nothing where there is none. A session in GPU memory whose plan has the built-in table takes
  /// it by itself. Its name and link decide, whatever the driver. Local.
  static std::optional<PathTable> shipped(const Gpus& gpus);

  /// Reads what `to_json` wrote. Local. Throws: Error{corrupt} naming the field.
  static PathTable parse(std::string_view json);
  /// One JSON document: schema, version, machine, rows; measured on GPUs also gpus and grids.
  /// Throws: Error{usage} for a pinned table.
  std::string to_json() const;

  std::optional<Path> pin() const noexcept;
  /// By memory, operation, crowding and group size; of GPUs only where the table speaks of them.
  std::span<const PathRow> rows() const noexcept;
  /// What it was measured on; nothing for built-in and pinned tables, which serve anywhere.
  const std::optional<Machine>& machine() const noexcept;
  /// The GPUs that it was measured on; nothing if it was on none.
  const std::optional<Gpus>& gpus() const noexcept;
  /// By family and group size.
  std::span<const GridRow> grids() const noexcept;
  /// Of cohort, when it was measured.
  const std::string& version() const noexcept;

  /// The steps of the row that is nearest: of the same crowding if there is one, of the largest
  /// group that is not larger, else of the smallest. Local, never empty.
  std::span<const PathStep> steps(Op op, std::uint32_t ranks, bool crowded,
                                  Memory memory = Memory::host) const noexcept;

  /// How launches are spread over threads: of the largest group that is not larger. Grids of two
  /// ranks serve no others, as two have kernels of their own. Empty where the general grid serves.
  /// Local.
  std::span<const GridStep> grid(Op op, std::uint32_t ranks) const noexcept;

  /// The path of a call in a group of two ranks or more. Local. Cost: some nanoseconds.
  PathChoice choose(Op op, std::uint32_t ranks, bool crowded, std::size_t bytes,
                    Memory memory = Memory::host) const noexcept;

  /// One line of text for each fact, for people and to compare.
  std::vector<std::string> lines() const;

  /// Equal tables have equal lines.
  COHORT_EXPORT friend bool operator==(const PathTable& left, const PathTable& right);

 private:
  struct Data;
  explicit PathTable(std::shared_ptr<const Data> data);
  static std::shared_ptr<Data> measured(std::vector<PathRow> rows, Machine machine,
                                        std::string version);
  std::shared_ptr<const Data> data_;
};

}  // namespace cohort
