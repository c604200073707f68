#include "gpu/graph_timing.hpp"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <stdexcept>
#include <thread>
#include <vector>

#include "gpu/check_cuda.hpp"

namespace cohort::test {
namespace {

constexpr int kReplays = 21;

/// Where ranks meet before each replay. Nobody sleeps: they go on at the same time.
class Meeting {
 public:
  explicit Meeting(std::uint32_t ranks) : ranks_(ranks) {}
  void wait() {
    const std::uint32_t turn = turn_.load();
    if (arrived_.fetch_add(1) + 1 == ranks_) {
      arrived_ = 0;
      turn_ = turn + 1;
      return;
    }
    while (turn_.load() == turn) {
    }
  }

 private:
  std::uint32_t ranks_;
  std::atomic<std::uint32_t> arrived_{0};
  std::atomic<std::uint32_t> turn_{0};
};

/// Milliseconds of each replay on one rank.
std::vector<float> replay(cudaGraphExec_t graph, cudaStream_t stream, Meeting& meeting) {
  cudaEvent_t begin = nullptr;
  cudaEvent_t end = nullptr;
  check_cuda(cudaEventCreate(&begin), "cudaEventCreate");
  check_cuda(cudaEventCreate(&end), "cudaEventCreate");
  std::vector<float> times;
  for (int round = 0; round <= kReplays; ++round) {
    check_cuda(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
    meeting.wait();
    check_cuda(cudaEventRecord(begin, stream), "cudaEventRecord");
    check_cuda(cudaGraphLaunch(graph, stream), "cudaGraphLaunch");
    check_cuda(cudaEventRecord(end, stream), "cudaEventRecord");
    check_cuda(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
    float milliseconds = 0;
    check_cuda(cudaEventElapsedTime(&milliseconds, begin, end), "cudaEventElapsedTime");
    if (round > 0) times.push_back(milliseconds);
  }
  check_cuda(cudaEventDestroy(begin), "cudaEventDestroy");
  check_cuda(cudaEventDestroy(end), "cudaEventDestroy");
  return times;
}

std::vector<float> capture_and_replay(const DeviceGroup& group, std::uint32_t member, int calls,
                                      const Enqueue& enqueue, Meeting& meeting) {
  const auto stream = static_cast<cudaStream_t>(group.stream(member));
  enqueue(member);  // NCCL connects when it is first called, which no graph can hold
  check_cuda(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  check_cuda(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "capture");
  for (int call = 0; call < calls; ++call) enqueue(member);
  check_cuda(cudaStreamEndCapture(stream, &graph), "capture");
  check_cuda(cudaGraphInstantiate(&executable, graph, 0), "cudaGraphInstantiate");
  check_cuda(cudaGraphUpload(executable, stream), "cudaGraphUpload");
  std::vector<float> times = replay(executable, stream, meeting);
  check_cuda(cudaGraphExecDestroy(executable), "cudaGraphExecDestroy");
  check_cuda(cudaGraphDestroy(graph), "cudaGraphDestroy");
  return times;
}

}  // namespace

void run_on_ranks(const DeviceGroup& group, const Enqueue& work) {
  std::vector<std::thread> threads;
  for (std::uint32_t member = 0; member < group.members(); ++member) {
    threads.emplace_back([&group, &work, member] {
      try {
        check_cuda(cudaSetDevice(group.device_of(member)), "cudaSetDevice");
        work(member);
      } catch (const std::exception& error) {
        std::fprintf(stderr, "rank %u: %s\n", member, error.what());
        std::_Exit(1);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

double time_in_graph(const DeviceGroup& group, int calls, const Enqueue& enqueue) {
  Meeting meeting(group.members());
  std::vector<std::vector<float>> times(group.members());
  run_on_ranks(group, [&](std::uint32_t member) {
    times[member] = capture_and_replay(group, member, calls, enqueue, meeting);
  });
  std::vector<float> slowest(kReplays);
  for (const std::vector<float>& of_rank : times) {
    std::transform(slowest.begin(), slowest.end(), of_rank.begin(), slowest.begin(),
                   [](float a, float b) { return std::max(a, b); });
  }
  for (std::uint32_t member = 0; member < group.members(); ++member) {
    if (group.fault(member).complete != 0) throw std::runtime_error("a call ended with a fault");
  }
  std::nth_element(slowest.begin(), slowest.begin() + kReplays / 2, slowest.end());
  return double{slowest[kReplays / 2]} * 1000 / calls;
}

}  // namespace cohort::test
