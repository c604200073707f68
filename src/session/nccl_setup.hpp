#pragma once

// What a session in GPU memory needs of NCCL over its life: communicators of the planned groups at
// commit, windows over the arena, every kind of call warmed, windows of what a recommit adds, an
// orderly end and a disorderly one.

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include <cohort/plan.hpp>

#include "backend/cuda/cuda_backend.hpp"
#include "backend/cuda/device.hpp"
#include "backend/cuda/nccl/abi.hpp"
#include "backend/host/domain.hpp"
#include "collectives/cuda/nccl_calls.hpp"
#include "heap/arena_layout.hpp"

namespace cohort {

/// Thread safety: one thread.
class NcclSetup {
 public:
  using TimePoint = host::Domain::TimePoint;

  /// `api` is null where the plugin has no NCCL. `nvlink`: between all devices, as all ranks have
  /// agreed.
  NcclSetup(host::Domain& domain, std::shared_ptr<cuda::OpenDevice> device,
            const cuda::nccl::Api* api, cuda::StreamHandle stream, const Plan& plan, bool nvlink);

  /// For executors: what they ask and whom they call.
  cuda::NcclCalls& calls() noexcept { return calls_; }

  /// Collective over the domain. Overwrites slots and pools.
  void connect(const Plan& plan, const heap::ArenaLayout& layout, const cuda::CudaArena& arena,
               TimePoint deadline);
  /// Why NCCL cannot be used at all, or empty; equal on all ranks.
  std::string refusal() const;
  /// In an attempt of the domain. Collective.
  void extend(const cuda::CudaArena& arena, TimePoint deadline);
  /// Back to windows over the arena's first `bytes`. Local.
  void shrink(const cuda::CudaArena& arena, std::size_t bytes) noexcept;
  /// Collective.
  void close(TimePoint deadline);
  /// Local; frees kernels that wait for peers.
  void abandon() noexcept { calls_.set(nullptr); }

 private:
  /// Two halves to call with: the first is the input, the second the output of most calls.
  struct Operands {
    cuda::Address address = 0;
    std::size_t bytes = 0;
    bool in_arena = false;
  };

  void say_what_is_refused() const;
  Operands largest_in_arena(GroupKind kind, const Plan& plan, const heap::ArenaLayout& layout,
                            const cuda::CudaArena& arena) const;
  void warm(std::size_t group, const Operands& operands, TimePoint deadline);
  void warm_call(std::size_t group, cuda::nccl::Call call, const Operands& operands,
                 TimePoint deadline);

  host::Domain* domain_;
  std::shared_ptr<cuda::OpenDevice> device_;
  const cuda::nccl::Api* api_;
  cuda::StreamHandle stream_;
  std::vector<cuda::NcclPlannedGroup> planned_;
  cuda::NcclCalls calls_;
};

}  // namespace cohort
