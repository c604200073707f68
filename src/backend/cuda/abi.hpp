#pragma once

// What libcohort_cuda.so offers: one table of functions over plain data. The library decides, the
// plugin does: it holds no protocol state, takes no part in set-up exchanges, and knows no groups.
// tests/support has a second implementation over host memory.
//
// No function throws or waits for another rank. Addresses on the device are numbers here, so that
// nobody follows them by mistake.

#include <cstddef>
#include <cstdint>

#include <cohort/dtype.hpp>
#include <cohort/verdict.hpp>

#include "backend/cuda/channel_map.hpp"

namespace cohort::cuda {

/// Changes with every change of this file or of channel_map.hpp.
inline constexpr std::uint32_t kAbiVersion = 12;
/// The one symbol of the plugin: `const Api* cohort_cuda_plugin(std::uint32_t abi_version)`, null
/// if it was built for another version.
inline constexpr const char* kEntrySymbol = "cohort_cuda_plugin";

/// How a function ended. `text` is empty if it went well, else one line that names the CUDA call.
struct Status {
  enum class Code : std::uint8_t { ok, usage, out_of_memory, unsupported, failed };
  Code code = Code::ok;
  char text[255] = {};
};

struct DeviceFacts {
  char name[96];
  char pci[32];  ///< "0000:1b:00.0", the same device in every process
  std::uint64_t memory_bytes;
  std::uint32_t compute_major;
  std::uint32_t compute_minor;
  std::uint32_t multiprocessors;
  std::uint32_t threads_per_multiprocessor;
  std::uint32_t driver_version;   ///< as CUDA counts, e.g. 13000
  std::uint32_t runtime_version;  ///< that the plugin was built with
  bool posix_handles;             ///< memory can be passed on as a file descriptor
};

/// Between two devices that this process sees.
struct LinkFacts {
  bool can_access;                ///< kernels on the one can store into memory of the other
  bool native_atomics;            ///< NVLink has them, PCIe does not
  std::int32_t performance_rank;  ///< the driver's: 0 is the fastest kind of link in the machine
};

/// One device of this process: retains the primary context, so that what other libraries allocated
/// there can be an operand. Thread safety: any thread, one at a time for each `Device`.
struct Device;
/// Of a piece of physical memory, own or imported.
using MemoryHandle = std::uint64_t;
using Address = std::uint64_t;
/// A cudaStream_t.
using StreamHandle = void*;

/// Written by a kernel to mapped host memory, once; `complete` last.
struct FaultRecord {
  enum class Kind : std::uint32_t {
    none,
    deadline,
    mismatch,
    poisoned,
    stale_generation,
    count_too_large
  };
  std::uint32_t complete;
  Kind kind;
  std::uint32_t member;   ///< group rank that the call waited for or differed from, or which count
  std::uint32_t channel;  ///< KernelCall::channel
  std::uint64_t sequence;
  std::uint64_t own_hash;
  std::uint64_t their_hash;  ///< or the count
  std::uint64_t waited_ns;
};

enum class Algorithm : std::uint8_t {
  once,      ///< one push, one poll: each thread its own lines, no loop over rounds
  two_shot,  ///< `once` twice in one kernel: reduce own part, then pass it on; all_reduce only
  split,     ///< some of a block's warps push, the others consume, tile by tile; large operands
};
enum class Protocol : std::uint8_t {
  flags,     ///< every 8 bytes carry 4 bytes of sequence; up to kFlagLines lines a source
  sentinel,  ///< what is not the sentinel has arrived
};

/// Who takes part and where their arenas are, as this process sees them.
struct Members {
  Address arenas;                   ///< of world rank 0
  std::uint64_t stride;             ///< from one world rank's arena to the next one's
  std::uint32_t count;              ///< of the group, >= 2
  std::uint32_t self;               ///< this rank's group rank
  std::uint8_t ranks[kMembersMax];  ///< world ranks by group rank
};

/// One launch. `op` is one of all_reduce, all_gather(v), reduce_scatter(v), broadcast,
/// all_to_all(v) and barrier; equal on all members, as are algorithm, protocol, grid, sizes and
/// hash.
struct KernelCall {
  Op op;
  ReduceOp reduce_op;
  DType dtype;
  Algorithm algorithm;
  Protocol protocol;
  std::uint32_t root;  ///< of broadcast
  std::uint32_t blocks;
  std::uint32_t threads;           ///< of a block, a multiple of 32; of `split`, of 128
  std::uint32_t lines_per_thread;  ///< 1 or 2; of `split`, consumed in each tile
  /// all_reduce, broadcast: of the operand; all_gather, reduce_scatter, all_to_all: of one part.
  std::uint64_t bytes;
  /// Of the v-forms, else null: bytes by member; of all_to_allv row by row. Read during `launch`.
  const std::uint64_t* counts;
  Address input;
  Address output;
  Members members;
  ChannelMap map;
  std::uint32_t channel;     ///< goes into the fault record
  std::uint32_t generation;  ///< that planned the channel
  std::uint64_t hash;
  std::uint64_t deadline_ns;
  Address fault;  ///< of the FaultRecord
  Address tally;  ///< of a Tally, or 0
  std::uint64_t tally_bytes;
  StreamHandle stream;
  /// Else 0: words on the device that say how many elements each part has. `op` is all_gather,
  /// reduce_scatter or all_to_all, `algorithm` is `split`, parts are packed in the larger operand,
  /// and the launch moves up to `bytes` bytes of each from its byte `first` on. Counts are folded
  /// into the upper half of the hash.
  Address device_counts;
  std::uint64_t first;
  std::uint64_t most;  ///< bytes of the largest part that may be
  /// Of a member that has no operands for a call that others have launched, or launched fused: it
  /// touches neither input nor output, pushes bytes of 0xFF (NaN in every type of floats), and
  /// takes and forgets what comes. All else is as in the others' launch.
  bool stands_in;
};

/// How normed values leave a kernel.
enum class NormOutput : std::uint8_t {
  plain,       ///< in the type of the input
  f8_by_row,   ///< f8e4m3, each row divided by its own scale, which is written: largest / 448
  f8_by_scale  ///< f8e4m3, divided by one scale, which is read
};

/// A row x and its residual r become s = x + r, rounded to the type, and s / rms(s) * weight,
/// rounded once; f8e4m3 is made from those rounded values. Of `hidden` elements, a multiple of 8 up
/// to kHiddenMax, bf16 or f16. All addresses but `scales` are aligned to 16 bytes (f8e4m3: to 8).
struct Norm {
  DType dtype;
  NormOutput output;
  std::uint32_t hidden;
  float epsilon;         ///< added to the mean of squares
  Address residual;      ///< rows x hidden
  Address weight;        ///< hidden
  Address residual_out;  ///< s; may be `residual`
  Address normed;        ///< rows x hidden
  Address scales;        ///< f32: one of each row, or the one that is read; else 0
};
inline constexpr std::uint32_t kHiddenMax = 16384;

/// all_reduce, reduce_scatter or reduce_scatterv (sum) of whole rows, each row of the result normed
/// at once: the same bits as the collective, then `launch_norm`. `call.output` is unused;
/// `call.lines_per_thread` and `call.threads` follow from `norm.hidden`. The input overlaps none of
/// the outputs.
struct FusedCall {
  KernelCall call;
  Norm norm;
  std::uint32_t blocks_per_row;  ///< that take a row together; `call.blocks` is a multiple of it
};

/// Bytes to copy or to zero: `rows` pieces of `row_bytes`, each a stride behind the one before.
struct CopyPiece {
  Address to;
  Address from;  ///< 0: the bytes become zero
  std::uint64_t rows;
  std::uint64_t row_bytes;
  std::uint64_t to_stride;  ///< bytes; unused for one row
  std::uint64_t from_stride;
};
/// Most pieces of one launch.
inline constexpr std::uint32_t kCopyPiecesMax = 48;

/// A graph made ready to run.
using GraphHandle = void*;

/// Has every function. They take a `Device*` of `open`. All but those that say so return at once.
struct Api {
  std::uint32_t abi_version;

  Status (*device_count)(std::uint32_t* count);
  Status (*describe)(std::uint32_t device, DeviceFacts* facts);
  /// From `device` to `peer`; of a device to itself all is true.
  Status (*describe_link)(std::uint32_t device, std::uint32_t peer, LinkFacts* facts);
  /// Makes the device ready and loads every kernel: one that is loaded lazily waits for running
  /// kernels, which may be waiting for it. Takes a second or so in a new process.
  Status (*open)(std::uint32_t device, Device** opened);
  void (*close)(Device* device);

  // --- memory -----------------------------------------------------------------------------------

  Status (*granule)(Device* device, std::size_t* bytes);
  Status (*reserve)(Device* device, std::size_t bytes, Address* address);
  void (*free_range)(Device* device, Address address, std::size_t bytes);
  /// Physical memory on the device, exportable, without an address.
  Status (*create)(Device* device, std::size_t bytes, MemoryHandle* memory);
  /// The caller owns the descriptor.
  Status (*export_fd)(Device* device, MemoryHandle memory, int* fd);
  /// The descriptor stays the caller's. Throws nothing away: what cannot be imported says why.
  Status (*import_fd)(Device* device, int fd, MemoryHandle* memory);
  void (*destroy)(Device* device, MemoryHandle memory);
  /// Read and write from this device.
  Status (*map)(Device* device, Address address, std::size_t bytes, MemoryHandle memory);
  void (*unmap)(Device* device, Address address, std::size_t bytes);
  /// Fills with a 32-bit word. Returns once it is there. `bytes` is a multiple of 4.
  Status (*fill)(Device* device, Address address, std::uint32_t word, std::size_t bytes);
  /// Copies between any two of device and host memory. Returns once it is there.
  Status (*copy)(Device* device, Address to, Address from, std::size_t bytes);
  /// Stores `stamp + i` as the i-th 8 bytes of memory on this device or a peer, as much of the last
  /// of them as there is. Returns once it is there. `address` is a multiple of 8.
  Status (*stamp)(Device* device, Address address, std::size_t bytes, std::uint64_t stamp);
  /// Whether memory on this device or a peer shows that.
  Status (*has_stamps)(Device* device, Address address, std::size_t bytes, std::uint64_t stamp,
                       bool* shown);
  /// Zeroed host memory that kernels can write: its address for the host and for the device.
  Status (*allocate_mapped)(Device* device, std::size_t bytes, void** host, Address* address);
  void (*free_mapped)(Device* device, void* host);
  /// Stores a word behind everything else's back, without waiting for kernels that are running.
  Status (*poke)(Device* device, Address address, std::uint32_t word);

  // --- calls ------------------------------------------------------------------------------------

  /// From now on no kernel of more threads is brought onto the device before the one ahead of it in
  /// its stream has ended. Holds for this process; only lowers what was said before.
  Status (*limit_early)(Device* device, std::uint32_t threads);
  /// Puts a call into the stream, or into the graph that the stream is being captured into.
  Status (*launch)(Device* device, const KernelCall* call);
  /// Likewise, with a norm behind it.
  Status (*launch_fused)(Device* device, const FusedCall* call);
  /// A norm of `rows` rows on its own, without peers.
  Status (*launch_norm)(Device* device, const Norm* norm, Address input, std::uint64_t rows,
                        StreamHandle stream);
  /// Puts a copy between memory of this device into the stream or graph: for groups of one rank.
  Status (*enqueue_copy)(Device* device, Address to, Address from, std::size_t bytes,
                         StreamHandle stream);
  /// Puts a copy of f32, bf16 or f16 into the stream or graph in which every NaN is the canonical
  /// one, as sums over several ranks have it; `to` is `from` or overlaps it nowhere.
  Status (*reduce_alone)(Device* device, Address to, Address from, std::uint64_t elements,
                         DType dtype, StreamHandle stream);
  /// Puts one kernel into the stream or graph that copies all pieces within memory of this device,
  /// in no particular order. `usage` for more than kCopyPiecesMax.
  Status (*copy_pieces)(Device* device, const CopyPiece* pieces, std::uint32_t count,
                        StreamHandle stream);
  /// Whether everything in the stream has ended, without waiting.
  Status (*is_done)(Device* device, StreamHandle stream, bool* done);
  Status (*is_capturing)(Device* device, StreamHandle stream, bool* capturing);
  /// The graph that the stream is being captured into owns `held` from now on: `release(held)` is
  /// called once, when that graph, all that was made from it and their launches are over; on any
  /// thread, which may call nothing of CUDA. `usage` if the stream is not being captured; after a
  /// failure nobody calls `release`.
  Status (*retain_in_graph)(Device* device, StreamHandle stream, void (*release)(void* held),
                            void* held);

  // --- streams and graphs of our own, for measurements; engines bring theirs --------------------

  Status (*create_stream)(Device* device, StreamHandle* stream);
  void (*destroy_stream)(Device* device, StreamHandle stream);
  /// What this thread puts into the stream from here on becomes a graph instead.
  Status (*begin_capture)(Device* device, StreamHandle stream);
  Status (*end_capture)(Device* device, StreamHandle stream, GraphHandle* graph);
  Status (*launch_graph)(Device* device, GraphHandle graph, StreamHandle stream);
  /// Once no launch of it is under way.
  void (*destroy_graph)(Device* device, GraphHandle graph);
};

}  // namespace cohort::cuda
