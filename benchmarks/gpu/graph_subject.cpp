#include "graph_subject.hpp"

#include <algorithm>
#include <chrono>
#include <utility>
#include <vector>

namespace cohort::gpu_bench {
namespace {

constexpr std::size_t kFlushBytes = std::size_t{192} << 20;
constexpr std::uint64_t kAlignment = 512;
/// Behind every output: what a call must not touch.
constexpr std::uint64_t kGuardBytes = 512;
constexpr std::uint8_t kPoison = 0xFF;  // a NaN in every float type
constexpr std::size_t kNormBytes = std::size_t{16} << 20;
constexpr std::uint32_t kHostCalls = 200;

std::uint64_t aligned(std::uint64_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

template <typename T>
T* allocate(std::size_t bytes) {
  void* memory = nullptr;
  require(cudaMalloc(&memory, bytes), "cudaMalloc");
  require(cudaMemset(memory, 0, bytes), "cudaMemset");
  return static_cast<T*>(memory);
}

}  // namespace

Gpu::Gpu(std::uint32_t device) {
  require(cudaSetDevice(static_cast<int>(device)), "cudaSetDevice");
  require(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreate");
  require(cudaEventCreate(&begin), "cudaEventCreate");
  require(cudaEventCreate(&end), "cudaEventCreate");
  flush = allocate<void>(kFlushBytes);
  wrong = allocate<std::uint64_t>(sizeof(std::uint64_t));
  residual = allocate<std::byte>(kNormBytes);
  residual_out = allocate<std::byte>(kNormBytes);
  residual_kept = allocate<std::byte>(kNormBytes);
  weight = allocate<std::byte>(kHidden * sizeof(float));
}

std::byte* ordinary_pool() {
  return allocate<std::byte>(kPoolBytes);
}

GraphSubject::GraphSubject(std::string name, Ranks& ranks, Gpu& gpu, std::byte* pool)
    : Subject(std::move(name)), ranks_(ranks), gpu_(gpu), pool_(pool) {}

GraphSubject::~GraphSubject() {
  release();
}

std::optional<std::string> GraphSubject::refuses(const Point& point) {
  const std::uint64_t norm_bytes = std::uint64_t{kHidden} * bytes_of(DType::bf16);
  if (counts_rows(point.operation) &&
      (point.dtype != DType::bf16 || point.bytes == 0 || point.bytes % norm_bytes != 0 ||
       point.bytes + kRanksMax * norm_bytes > kNormBytes))
    return "the norm takes whole rows of bf16, and not so many";
  return std::nullopt;
}

std::byte* GraphSubject::input(std::uint64_t pair) const noexcept {
  return pool_ + pair * pair_bytes_;
}

std::byte* GraphSubject::output(std::uint64_t pair) const noexcept {
  return input(pair) + aligned(input_bytes_);
}

std::byte* GraphSubject::sum() const noexcept {
  return pool_ + kPoolBytes - kNormBytes;
}

void GraphSubject::one_call(std::uint64_t pair) {
  if (is_layers(point_.operation)) {
    one_step(input(pair));
    return;
  }
  if (point_.operation != Operation::all_reduce_norm || !has_result() || fuses()) {
    enqueue(point_, input(pair), output(pair));
    return;
  }
  enqueue(point_, input(pair), sum());
  add_norm({sum(), gpu_.residual, gpu_.residual_out, gpu_.weight, output(pair),
            static_cast<std::uint32_t>(rows_of(point_))},
           gpu_.stream);
}

void GraphSubject::one_step(std::byte* operands) {
  std::byte* sums = step_.sum(operands);
  for (std::uint32_t i = 0; i < kBoundaries; ++i) {
    if (step_.scatters()) gather_rows(step_, step_.whole(operands, i), step_.own(operands, i));
    add_rows(step_, step_.addend(operands, i), sums,
             {sums, gpu_.residual, gpu_.residual, gpu_.weight, step_.own(operands, i + 1),
              static_cast<std::uint32_t>(step_.own_rows())});
  }
}

void GraphSubject::gather_rows(const LayerStep& step, std::byte* whole, std::byte* own) {
  enqueue(call_of_step(Operation::all_gather, step.rows().total), own, whole);
}

void GraphSubject::add_rows(const LayerStep& step, std::byte* addend, std::byte* sum,
                            const Norm& norm) {
  const Operation call = step.scatters() ? Operation::reduce_scatter : Operation::all_reduce;
  enqueue(call_of_step(call, step.rows().total), addend, sum);
  if (has_result()) add_norm(norm, gpu_.stream);
}

void GraphSubject::lay_out(const Point& point) {
  point_ = point;
  const bool normed = point.operation == Operation::all_reduce_norm;
  const std::uint64_t room = kPoolBytes - (normed ? kNormBytes : 0);
  if (is_layers(point.operation)) {
    step_ = LayerStep(point, ranks_.rank(), ranks_.count(), pads());
    pair_bytes_ = step_.bytes();
  } else {
    const std::size_t width = bytes_of(point.dtype);
    // Equal on all ranks, so that what is symmetric stays so.
    input_bytes_ = output_bytes_ = 0;
    for (std::uint32_t rank = 0; rank < ranks_.count(); ++rank) {
      input_bytes_ = std::max(input_bytes_, input_elements(point, rank, ranks_.count()) * width);
      output_bytes_ = std::max(output_bytes_, output_elements(point, rank, ranks_.count()) * width);
    }
    pair_bytes_ = aligned(input_bytes_) + aligned(output_bytes_) + kGuardBytes;
  }
  pairs_ = point.rotating ? std::clamp<std::uint64_t>(room / pair_bytes_, 1, calls_) : 1;
}

void GraphSubject::prepare(const Point& point, std::uint32_t calls) {
  release();
  calls_ = calls;
  lay_out(point);
  begin(point);
  one_call(0);  // what is done at the first call only is not captured
  require(cudaStreamSynchronize(gpu_.stream), "the first call");
  graph_ = capture(calls, false);
  if (has_result() && overwrites(point)) checked_ = capture(pairs_, true);
}

/// `restores`: every call has the residual that was kept.
cudaGraphExec_t GraphSubject::capture(std::uint64_t count, bool restores) {
  cudaGraph_t graph = nullptr;
  require(cudaStreamBeginCapture(gpu_.stream, cudaStreamCaptureModeThreadLocal), "capture");
  for (std::uint64_t i = 0; i < count; ++i) {
    if (restores)
      require(cudaMemcpyAsync(gpu_.residual, gpu_.residual_kept, kNormBytes,
                              cudaMemcpyDeviceToDevice, gpu_.stream),
              "cudaMemcpy");
    one_call(i % pairs_);
  }
  require(cudaStreamEndCapture(gpu_.stream, &graph), "cudaStreamEndCapture");
  cudaGraphExec_t made = nullptr;
  const cudaError_t result = cudaGraphInstantiate(&made, graph, 0);
  cudaGraphDestroy(graph);
  require(result, "cudaGraphInstantiate");
  require(cudaGraphUpload(made, gpu_.stream), "cudaGraphUpload");
  require(cudaStreamSynchronize(gpu_.stream), "cudaGraphUpload");
  return made;
}

void GraphSubject::fill_pair(std::uint64_t pair, std::uint32_t seed) {
  if (is_layers(point_.operation)) {
    step_.fill(input(pair), {gpu_.residual, gpu_.weight}, seed, gpu_.stream);
    return;
  }
  const std::uint32_t rank = ranks_.rank();
  const std::uint64_t elements = input_elements(point_, rank, ranks_.count());
  fill(point_.dtype, input(pair), 0, elements, rank, seed, gpu_.stream);
  require(cudaMemsetAsync(output(pair), kPoison, aligned(output_bytes_) + kGuardBytes, gpu_.stream),
          "cudaMemset");
  if (point_.operation != Operation::all_reduce_norm) return;
  fill(point_.dtype, gpu_.residual, 0, elements, kResidualRank, seed, gpu_.stream);
  fill(point_.dtype, gpu_.weight, 0, kHidden, kWeightRank, seed, gpu_.stream);
}

void GraphSubject::check_pair(std::uint64_t pair, std::uint32_t seed) {
  if (is_layers(point_.operation)) {
    step_.check(input(pair), {gpu_.residual, gpu_.weight}, seed, gpu_.wrong, gpu_.stream);
    if (overwrites(point_)) step_.zero_addends(input(pair), gpu_.stream);
    return;
  }
  const std::uint32_t rank = ranks_.rank();
  const Expected expected{point_.operation, point_.dtype, rank,
                          ranks_.count(),   seed,         shares_of(point_, ranks_.count())};
  const std::uint64_t result_bytes =
      output_elements(point_, rank, ranks_.count()) * bytes_of(point_.dtype);
  check(expected, output(pair), gpu_.wrong, gpu_.stream);
  check_bytes(output(pair) + result_bytes, kGuardBytes, kPoison, gpu_.wrong, gpu_.stream);
  if (overwrites(point_))
    require(cudaMemsetAsync(input(pair), 0, input_bytes_, gpu_.stream), "cudaMemset");
}

std::uint64_t GraphSubject::verify(std::uint32_t seed) {
  if (!has_result()) return 0;
  require(cudaMemsetAsync(gpu_.wrong, 0, sizeof(std::uint64_t), gpu_.stream), "cudaMemset");
  for (std::uint64_t pair = 0; pair < pairs_; ++pair) fill_pair(pair, seed);
  require(cudaMemcpyAsync(gpu_.residual_kept, gpu_.residual, kNormBytes, cudaMemcpyDeviceToDevice,
                          gpu_.stream),
          "cudaMemcpy");
  require(cudaGraphLaunch(checked_ != nullptr ? checked_ : graph_, gpu_.stream), "cudaGraphLaunch");
  for (std::uint64_t pair = 0; pair < pairs_; ++pair) check_pair(pair, seed);
  std::uint64_t wrong = 0;
  require(cudaMemcpyAsync(&wrong, gpu_.wrong, sizeof(wrong), cudaMemcpyDeviceToHost, gpu_.stream),
          "cudaMemcpy");
  require(cudaStreamSynchronize(gpu_.stream), "the calls that are checked");
  return wrong;
}

double GraphSubject::replay_us() {
  ranks_.barrier();
  require(cudaGraphLaunch(graph_, gpu_.stream), "cudaGraphLaunch");
  if (point_.rotating)
    require(cudaMemsetAsync(gpu_.flush, 0, kFlushBytes, gpu_.stream), "cudaMemset");
  require(cudaEventRecord(gpu_.begin, gpu_.stream), "cudaEventRecord");
  require(cudaGraphLaunch(graph_, gpu_.stream), "cudaGraphLaunch");
  require(cudaEventRecord(gpu_.end, gpu_.stream), "cudaEventRecord");
  require(cudaStreamSynchronize(gpu_.stream), "replay");
  float milliseconds = 0;
  require(cudaEventElapsedTime(&milliseconds, gpu_.begin, gpu_.end), "cudaEventElapsedTime");
  return static_cast<double>(milliseconds) * 1000;
}

std::optional<double> GraphSubject::host_ns() {
  if (!has_result() || is_layers(point_.operation)) return std::nullopt;
  ranks_.barrier();
  // Each call on its own: a launch that the driver holds up now and then must not count.
  std::vector<double> spent;
  for (std::uint32_t i = 0; i < kHostCalls; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    enqueue(point_, input(0), output(0));
    const std::chrono::duration<double, std::nano> one = std::chrono::steady_clock::now() - begin;
    spent.push_back(one.count());
  }
  require(cudaStreamSynchronize(gpu_.stream), "calls outside graphs");
  std::nth_element(spent.begin(), spent.begin() + kHostCalls / 2, spent.end());
  return spent[kHostCalls / 2];
}

void GraphSubject::release() {
  for (cudaGraphExec_t* graph : {&graph_, &checked_}) {
    if (*graph != nullptr) cudaGraphExecDestroy(*graph);
    *graph = nullptr;
  }
}

}  // namespace cohort::gpu_bench
