#include <cuda_runtime.h>

#include "gpu/dependency.hpp"

namespace cohort::cuda {
namespace {

constexpr unsigned long long kSlowNs = 20'000;

/// Mapped host memory, written by the kernels of a round.
struct Words {
  std::uint32_t stored;
  std::uint32_t seen;
  unsigned long long slow_ended;
  unsigned long long between_began;
};

__device__ unsigned long long now_ns() {
  unsigned long long time;
  asm volatile("mov.u64 %0, %globaltimer;" : "=l"(time));
  return time;
}

__device__ void wait_for_kernel_ahead() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

__device__ void let_next_kernel_start() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

__global__ void slow(volatile Words* words, std::uint32_t value) {
  wait_for_kernel_ahead();
  let_next_kernel_start();
  const unsigned long long began = now_ns();
  while (now_ns() - began < kSlowNs) {
  }
  words->stored = value;
  words->slow_ended = now_ns();
}

__global__ void between(volatile Words* words, bool waits) {
  if (waits) wait_for_kernel_ahead();
  words->between_began = now_ns();
  let_next_kernel_start();
}

__global__ void last(volatile Words* words) {
  wait_for_kernel_ahead();
  words->seen = words->stored;
}

/// The first CUDA call that failed.
class Calls {
 public:
  bool operator()(const char* call, cudaError_t error) {
    if (error != cudaSuccess && fault_.empty()) {
      fault_ = std::string(call) + ": " + cudaGetErrorString(error);
    }
    return fault_.empty();
  }
  const std::string& fault() const { return fault_; }

 private:
  std::string fault_;
};

class Round {
 public:
  Round(Calls& calls, bool programmatic) : calls_(calls) {
    calls_("cudaHostAlloc",
           cudaHostAlloc(reinterpret_cast<void**>(&host_), sizeof(Words), cudaHostAllocMapped));
    calls_("cudaHostGetDevicePointer",
           cudaHostGetDevicePointer(reinterpret_cast<void**>(&words_), host_, 0));
    calls_("cudaStreamCreate", cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
    attribute_.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attribute_.val.programmaticStreamSerializationAllowed = programmatic ? 1 : 0;
  }
  ~Round() {
    if (stream_ != nullptr) (void)cudaStreamDestroy(stream_);
    if (host_ != nullptr) (void)cudaFreeHost(host_);
  }
  Round(const Round&) = delete;
  Round& operator=(const Round&) = delete;

  cudaStream_t stream() const { return stream_; }
  Words& words() const { return *host_; }

  /// Puts the three kernels into the stream.
  bool launch(std::uint32_t value, bool between_waits) {
    cudaLaunchConfig_t config{};
    config.gridDim = dim3(1);
    config.blockDim = dim3(1);
    config.stream = stream_;
    config.attrs = &attribute_;
    config.numAttrs = 1;
    volatile Words* const words = words_;
    return calls_("slow", cudaLaunchKernelEx(&config, slow, words, value)) &&
           calls_("between", cudaLaunchKernelEx(&config, between, words, between_waits)) &&
           calls_("last", cudaLaunchKernelEx(&config, last, words));
  }

  /// Captures them, and launches the graph.
  bool launch_graph(std::uint32_t value, bool between_waits) {
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t ready = nullptr;
    if (!calls_("begin", cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal)) ||
        !launch(value, between_waits) ||
        !calls_("cudaStreamEndCapture", cudaStreamEndCapture(stream_, &graph)) ||
        !calls_("cudaGraphInstantiate", cudaGraphInstantiate(&ready, graph, 0))) {
      return false;
    }
    const bool launched = calls_("cudaGraphLaunch", cudaGraphLaunch(ready, stream_)) &&
                          calls_("wait", cudaStreamSynchronize(stream_));
    (void)cudaGraphExecDestroy(ready);
    (void)cudaGraphDestroy(graph);
    return launched;
  }

 private:
  Calls& calls_;
  Words* host_ = nullptr;
  Words* words_ = nullptr;
  cudaStream_t stream_ = nullptr;
  cudaLaunchAttribute attribute_{};
};

}  // namespace

DependencyRun run_dependency(std::uint32_t device, Launched launched, bool programmatic,
                             bool between_waits, std::uint32_t rounds) {
  DependencyRun run;
  Calls calls;
  calls("cudaSetDevice", cudaSetDevice(static_cast<int>(device)));
  Round round(calls, programmatic);
  for (std::uint32_t value = 1; value <= rounds && calls.fault().empty(); ++value) {
    round.words() = {};
    const bool is_done = launched == Launched::in_graph
                             ? round.launch_graph(value, between_waits)
                             : round.launch(value, between_waits) &&
                                   calls("wait", cudaStreamSynchronize(round.stream()));
    if (!is_done) break;
    const Words& words = round.words();
    run.early += words.seen == value ? 0 : 1;
    run.overlaps += words.between_began < words.slow_ended ? 1 : 0;
  }
  run.fault = calls.fault();
  return run;
}

}  // namespace cohort::cuda
