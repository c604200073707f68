#include <atomic>

#include "backend/cuda/plugin/status.hpp"
#include "collectives/cuda/kernels/counted.hpp"
#include "collectives/cuda/kernels/kernels.hpp"
#include "collectives/cuda/kernels/launch.hpp"
#include "collectives/cuda/kernels/split.hpp"
#include "collectives/cuda/kernels/stand_in.hpp"
#include "collectives/cuda/kernels/table.cuh"

namespace cohort::cuda {

namespace {

/// All parts of a call are counted in 32-bit lines.
constexpr std::uint64_t kBytesMax = (std::uint64_t{1} << 32) * 8;

std::uint32_t line_bytes(Protocol protocol) noexcept {
  return protocol == Protocol::flags ? kLineBytes / 2 : kLineBytes;
}

Status usage(const char* what) {
  return failure(Status::Code::usage, "launch: %s", what);
}

Status check_grid(const KernelCall& call) {
  if (call.blocks == 0 || call.blocks > kBlocksMax) return usage("blocks out of range");
  if (call.threads == 0 || call.threads > 1024 || call.threads % 32 != 0) {
    return usage("threads of a block must be a multiple of 32, at most 1024");
  }
  return succeeded();
}

Status check_members(const Members& members) {
  if (members.count < 2 || members.count > kMembersMax) return usage("members out of range");
  if (members.self >= members.count) return usage("self is no member");
  return succeeded();
}

constexpr int kDevicesMax = 64;

/// What launches on a device need to know; all zero until somebody asks.
struct LaunchFacts {
  std::atomic<std::uint8_t> major_9{0};  ///< 0: not asked yet, 1: no, 2: yes
  /// All bits but those of the most threads of a kernel that is brought early: 0 is no limit.
  std::atomic<std::uint32_t> not_early{0};
};
LaunchFacts facts_of_devices[kDevicesMax];

Status current_facts(LaunchFacts** facts, int* device) {
  COHORT_CUDA_TRY(cudaGetDevice, device);
  if (*device >= kDevicesMax) {
    return failure(Status::Code::unsupported, "launch: device %d, of %d at most", *device,
                   kDevicesMax);
  }
  *facts = &facts_of_devices[*device];
  return succeeded();
}

struct Ability {
  bool major_9 = false;  ///< programmatic launches and clusters work
  std::uint32_t early_threads = 0;
};

/// Of the current device; it is asked once.
Status find_ability(Ability* ability) {
  LaunchFacts* facts = nullptr;
  int device = 0;
  if (Status status = current_facts(&facts, &device); !is_ok(status)) return status;
  std::uint8_t seen = facts->major_9.load(std::memory_order_relaxed);
  if (seen == 0) {
    int major = 0;
    COHORT_CUDA_TRY(cudaDeviceGetAttribute, &major, cudaDevAttrComputeCapabilityMajor, device);
    seen = major >= 9 ? 2 : 1;
    facts->major_9.store(seen, std::memory_order_relaxed);
  }
  ability->major_9 = seen == 2;
  ability->early_threads = ~facts->not_early.load(std::memory_order_relaxed);
  return succeeded();
}

Shape shape_of(const KernelCall& call) noexcept {
  switch (call.op) {
    case Op::all_reduce:
      return call.algorithm == Algorithm::two_shot ? Shape::two_shot : Shape::all_reduce;
    case Op::reduce_scatter:
    case Op::reduce_scatterv: return Shape::reduce_scatter;
    case Op::all_to_all:
    case Op::all_to_allv: return Shape::exchange;
    default: return Shape::gather;
  }
}

FindKernel finder_of(const KernelCall& call) noexcept {
  if (!is_reduction_call(call.op)) return find_move;
  const bool sums = call.reduce_op == ReduceOp::sum;
  switch (call.dtype) {
    case DType::f32: return sums ? find_f32_sum : find_float_order;
    case DType::bf16: return sums ? find_bf16_sum : find_float_order;
    case DType::f16: return sums ? find_f16_sum : find_float_order;
    case DType::i32:
    case DType::i64:
    case DType::u8: return find_integer_reduction;
    default: return nullptr;
  }
}

bool is_full(const Piece& piece) noexcept {
  return piece.whole == piece.lines;
}

Status no_kernel(const KernelCall& call) {
  return failure(Status::Code::unsupported,
                 "launch: no kernel for operation %d, type %d, algorithm %d, %u lines a thread, "
                 "%u members",
                 static_cast<int>(call.op), static_cast<int>(call.dtype),
                 static_cast<int>(call.algorithm), call.lines_per_thread, call.members.count);
}

template <int MEMBERS>
Status launch_for(const KernelCall& call, FindKernel find) {
  Args<MEMBERS> args = make_args<MEMBERS>(call, line_bytes(call.protocol));
  const bool is_aligned = MEMBERS == 2 && is_full(args.call.in) && is_full(args.call.out) &&
                          is_full(args.peer[0].in) && is_full(args.peer[0].out);
  const void* kernel =
      find({shape_of(call), call.protocol, call.lines_per_thread, MEMBERS, is_aligned});
  if (kernel == nullptr) return no_kernel(call);
  void* parameters[] = {&args};
  return launch_kernel(kernel, call, parameters);
}

Status load_found(FindKernel find) {
  for (int shape = 0; shape <= static_cast<int>(Shape::two_shot); ++shape) {
    for (const Protocol protocol : {Protocol::flags, Protocol::sentinel}) {
      for (const std::uint32_t lines : {1U, 2U}) {
        for (const int members : kMemberClasses) {
          for (const bool is_aligned : {false, true}) {
            const void* kernel =
                find({static_cast<Shape>(shape), protocol, lines, members, is_aligned});
            if (kernel == nullptr) continue;
            if (Status status = load_kernel(kernel); !is_ok(status)) return status;
          }
        }
      }
    }
  }
  return succeeded();
}

}  // namespace

Status check_call(const KernelCall& call, bool loops) {
  if (Status status = check_members(call.members); !is_ok(status)) return status;
  if (Status status = check_grid(call); !is_ok(status)) return status;
  if (call.op == Op::send || call.op == Op::recv) return usage("no kernel for send and recv");
  if (call.op == Op::broadcast && call.root >= call.members.count)
    return usage("root is no member");
  const std::uint64_t bytes = largest_part_bytes(call);
  if (bytes >= kBytesMax) return usage("more bytes than 32-bit line numbers reach");
  const std::uint64_t lines = lines_of(bytes, line_bytes(call.protocol));
  const std::uint64_t threads = std::uint64_t{call.blocks} * call.threads;
  if (!loops && threads * call.lines_per_thread < lines) {
    return usage("the grid does not cover the operands");
  }
  if (call.protocol == Protocol::flags) {
    return lines > kFlagLines ? usage("too many bytes for lines with flags") : succeeded();
  }
  if (scratch_lines(call, call.members.self) * kLineBytes > call.map.data_bytes) {
    return usage("the call does not fit into the channel's scratch");
  }
  return succeeded();
}

Status has_clusters(bool* has) {
  Ability ability;
  Status status = find_ability(&ability);
  *has = ability.major_9;
  return status;
}

Status limit_early_kernels(std::uint32_t threads) {
  LaunchFacts* facts = nullptr;
  int device = 0;
  if (Status status = current_facts(&facts, &device); !is_ok(status)) return status;
  std::uint32_t before = facts->not_early.load(std::memory_order_relaxed);
  while (before < ~threads && !facts->not_early.compare_exchange_weak(before, ~threads)) {
  }
  return succeeded();
}

Status launch_kernel(const void* kernel, const KernelCall& call, void** parameters,
                     std::uint32_t cluster_blocks) {
  Ability ability;
  if (Status status = find_ability(&ability); !is_ok(status)) return status;
  cudaLaunchAttribute attributes[2]{};
  unsigned used = 0;
  if (ability.major_9 && call.blocks * call.threads <= ability.early_threads) {
    attributes[used].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes[used++].val.programmaticStreamSerializationAllowed = 1;
  }
  if (ability.major_9 && cluster_blocks != 0) {
    attributes[used].id = cudaLaunchAttributeClusterDimension;
    attributes[used++].val.clusterDim = {cluster_blocks, 1, 1};
  }
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(call.blocks);
  config.blockDim = dim3(call.threads);
  config.stream = static_cast<cudaStream_t>(call.stream);
  config.attrs = attributes;
  config.numAttrs = used;
  COHORT_CUDA_TRY(cudaLaunchKernelExC, &config, kernel, parameters);
  return succeeded();
}

Status load_kernel(const void* kernel) {
  cudaFuncAttributes attributes{};
  COHORT_CUDA_TRY(cudaFuncGetAttributes, &attributes, kernel);
  return succeeded();
}

Status load_kernels() {
  for (const FindKernel find : {find_f32_sum, find_bf16_sum, find_f16_sum, find_float_order,
                                find_integer_reduction, find_move}) {
    if (Status status = load_found(find); !is_ok(status)) return status;
  }
  return succeeded();
}

Status launch(const KernelCall& call) {
  if (call.stands_in) return launch_stand_in(call);
  if (call.device_counts != 0) return launch_counted(call);
  if (call.algorithm == Algorithm::split) return launch_split(call);
  if (Status status = check_call(call, false); !is_ok(status)) return status;
  const FindKernel find = finder_of(call);
  if (find == nullptr) return no_kernel(call);
  switch (member_class(call)) {
    case 2: return launch_for<2>(call, find);
    case 4: return launch_for<4>(call, find);
    case 8: return launch_for<8>(call, find);
    default: return launch_for<64>(call, find);
  }
}

}  // namespace cohort::cuda
