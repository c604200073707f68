#pragma once

// What libcohort_cuda.so offers of NCCL: a second table of functions over plain data. NCCL is
// loaded by the plugin, never linked, and its header is included nowhere else. As in
// backend/cuda/abi.hpp the library decides, the plugin does: it exchanges nothing of its own
// accord.
//
// No function throws. Communicators are non-blocking, so nothing here waits for another rank but
// `destroy`, and `abort` waits for NCCL's own threads, about a second.

#include <cstddef>
#include <cstdint>

#include <cohort/dtype.hpp>
#include <cohort/verdict.hpp>

#include "backend/cuda/abi.hpp"

namespace cohort::cuda::nccl {

/// Changes with every change of this file.
inline constexpr std::uint32_t kAbiVersion = 3;
/// `const Api* cohort_nccl_plugin(std::uint32_t abi_version)`, null if built for another version.
inline constexpr const char* kEntrySymbol = "cohort_nccl_plugin";
/// Names the NCCL to load; without it the usual search for libnccl.so.2, which finds first what the
/// process has already loaded.
inline constexpr const char* kLibraryVariable = "COHORT_NCCL_LIBRARY";

/// Made by one member, passed on by our own exchange.
struct UniqueId {
  char bytes[128];
};

struct LibraryFacts {
  std::int32_t version;     ///< as NCCL counts, e.g. 22809
  char path[512];           ///< of the file that was loaded
  char windows_off[160];    ///< why the environment rules windows out, or empty
  bool has_all_to_all;      ///< the function is there
  bool registers_operands;  ///< of plain calls, of its own accord
};

struct Join {
  UniqueId id;
  std::uint32_t members;
  std::uint32_t self;
  std::uint32_t device;
};

/// Of one rank in one group. Thread safety: one thread at a time.
struct Communicator;

enum class Progress : std::uint8_t { done, pending };

/// One collective. `count` is in elements: all_reduce, broadcast: of the operand; all_gather: of
/// this rank's part; reduce_scatter: of the result; all_to_all: of one part.
struct Call {
  Op op;
  ReduceOp reduce_op;
  DType dtype;
  std::uint32_t root;  ///< of broadcast
  std::uint64_t count;
  Address input;
  Address output;
  StreamHandle stream;
};

struct Api {
  std::uint32_t abi_version;

  /// Loads NCCL, once in a process. Fails with Status::Code::unsupported where there is none.
  Status (*load)(LibraryFacts* facts);
  Status (*unique_id)(UniqueId* id);
  /// Begins to connect `count` communicators in one group call.
  Status (*join)(const Join* joins, std::uint32_t count, Communicator** joined);
  /// How what was begun last is going. A failure says what NCCL says.
  Status (*progress)(Communicator* communicator, Progress* progress);
  /// Begins to register [address, address + bytes) of each of `count` ranges for symmetric
  /// kernels. Each range is one allocation, the same on all members.
  Status (*add_windows)(Communicator* communicator, const Address* addresses,
                        const std::uint64_t* bytes, std::uint32_t count);
  /// Windows that NCCL really gave since the communicator began, once that is done.
  std::uint32_t (*window_count)(const Communicator* communicator);
  /// Gives windows back until `kept` are left, the last ones first. Local.
  Status (*drop_windows)(Communicator* communicator, std::uint32_t kept);
  /// Puts a collective into its stream, or begins to: `progress` tells when it is there.
  Status (*call)(Communicator* communicator, const Call* call);
  /// Remembers what has been put into the stream so far. Not while it is being captured.
  Status (*mark)(Communicator* communicator, StreamHandle stream);
  /// Whether what was remembered last has ended, without waiting; true if nothing was. Asks for
  /// nothing of the stream, which may be gone.
  Status (*mark_reached)(Communicator* communicator, bool* reached);
  /// Begins to end: what is in streams is awaited. Then `destroy`.
  Status (*finalize)(Communicator* communicator);
  /// Frees a finalized communicator; waits until its peers let go of it.
  void (*destroy)(Communicator* communicator);
  /// Ends and frees it whatever it is doing, its kernels too. Local.
  void (*abort)(Communicator* communicator);

  /// Device memory that is free now, as the device tells.
  Status (*free_bytes)(std::uint32_t device, std::uint64_t* bytes);
  /// Whether everything in the stream has ended, without waiting. Null is the default stream.
  Status (*stream_done)(std::uint32_t device, StreamHandle stream, bool* done);
};

}  // namespace cohort::cuda::nccl
