#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

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
  /// Of all_reduce_norm.
  std::byte* residual = nullptr;
  std::byte* residual_out = nullptr;
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
  virtual void enqueue(const Point& point, const std::byte* input, std::byte* output) = 0;
  /// Before the first call of a point; outside capture. Collective.
  virtual void begin(const Point& /*point*/) {}
  /// Whether calls leave something that can be checked.
  virtual bool has_result() const { return true; }
  /// Whether `enqueue` of all_reduce_norm does everything.
  virtual bool fuses() const { return false; }

  Ranks& ranks() const noexcept { return ranks_; }
  Gpu& gpu() const noexcept { return gpu_; }

 private:
  std::byte* input(std::uint64_t pair) const noexcept;
  std::byte* output(std::uint64_t pair) const noexcept;
  /// Between all_reduce and norm: in the pool, since for some subjects its place matters.
  std::byte* sum() const noexcept;
  void one_call(std::uint64_t pair);

  Ranks& ranks_;
  Gpu& gpu_;
  std::byte* pool_;
  Point point_;
  std::uint32_t calls_ = 0;
  std::uint64_t pairs_ = 1;
  std::uint64_t input_bytes_ = 0;
  std::uint64_t output_bytes_ = 0;
  cudaGraphExec_t graph_ = nullptr;
};

}  // namespace cohort::gpu_bench
