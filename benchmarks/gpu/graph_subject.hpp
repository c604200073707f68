#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "kernels.hpp"
#include "layer_step.hpp"
#include "ranks.hpp"
#include "subject.hpp"

namespace cohort::gpu_bench {

/// Bytes of a pool that a subject takes operands from.
inline constexpr std::size_t kPoolBytes = std::size_t{512} << 20;

/// What all subjects of a process share.
struct Gpu {
  /// Local. Throws: std::runtime_error.
  explicit Gpu(std::uint32_t device);

  cudaStream_t stream = nullptr;
  cudaEvent_t begin = nullptr;
  cudaEvent_t end = nullptr;
  void* flush = nullptr;  ///< more than the second-level cache holds
  std::uint64_t* wrong = nullptr;
  /// Of norms. `residual_kept` is what `residual` was before anything was added to it.
  std::byte* residual = nullptr;
  std::byte* residual_out = nullptr;
  std::byte* residual_kept = nullptr;
  std::byte* weight = nullptr;
};

/// kPoolBytes of cudaMalloc memory. Throws: std::runtime_error.
std::byte* ordinary_pool();

/// A subject that puts each call into a CUDA stream: captured into a graph, replayed and checked
/// here.
class GraphSubject : public Subject {
 public:
  GraphSubject(std::string name, Ranks& ranks, Gpu& gpu, std::byte* pool);
  ~GraphSubject() override;

  std::optional<std::string> refuses(const Point& point) override;
  void prepare(const Point& point, std::uint32_t calls) override;
  std::uint64_t verify(std::uint32_t seed) override;
  double replay_us() override;
  std::optional<double> host_ns() override;
  void release() override;

 protected:
  /// Puts one call into the stream; of all_reduce_norm the all_reduce alone, unless it `fuses`.
  /// Never asked for a step of layers.
  virtual void enqueue(const Point& point, std::byte* input, std::byte* output) = 0;
  /// The two parts of a boundary: all ranks' rows to all, each in its place of `whole`; and the sum
  /// of the ranks' addends, all of it or this rank's rows, with residual and norm behind. Without
  /// forms of its own a subject has them by `enqueue` and a kernel for residual and norm.
  virtual void gather_rows(const LayerStep& step, std::byte* whole, std::byte* own);
  virtual void add_rows(const LayerStep& step, std::byte* addend, std::byte* sum, const Norm& norm);
  /// Whether steps need as many rows from each rank.
  virtual bool pads() const { return true; }
  /// Whether a call may change its operands or its residual. Then calls are checked that have all
  /// of them for themselves, and are timed with sums of zeros.
  virtual bool overwrites(const Point& /*point*/) const { return false; }
  /// Before the first call of a point; outside capture. Collective.
  virtual void begin(const Point& /*point*/) {}
  /// Whether calls leave something that can be checked.
  virtual bool has_result() const { return true; }
  /// Whether `enqueue` of all_reduce_norm does everything.
  virtual bool fuses() const { return false; }

  Ranks& ranks() const noexcept { return ranks_; }
  Gpu& gpu() const noexcept { return gpu_; }

 private:
  void lay_out(const Point& point);
  cudaGraphExec_t capture(std::uint64_t count, bool restores);
  void fill_pair(std::uint64_t pair, std::uint32_t seed);
  void check_pair(std::uint64_t pair, std::uint32_t seed);
  std::byte* input(std::uint64_t pair) const noexcept;
  std::byte* output(std::uint64_t pair) const noexcept;
  /// Between all_reduce and norm: in the pool, since for some subjects its place matters.
  std::byte* sum() const noexcept;
  void one_call(std::uint64_t pair);
  void one_step(std::byte* operands);

  Ranks& ranks_;
  Gpu& gpu_;
  std::byte* pool_;
  Point point_;
  std::uint32_t calls_ = 0;
  std::uint64_t pairs_ = 1;
  std::uint64_t input_bytes_ = 0;
  std::uint64_t output_bytes_ = 0;
  std::uint64_t pair_bytes_ = 0;
  LayerStep step_;  // of points that are one
  cudaGraphExec_t graph_ = nullptr;
  cudaGraphExec_t checked_ = nullptr;  // of subjects that overwrite
};

}  // namespace cohort::gpu_bench
