#pragma once

// What the GPUs of ranks are together, and how they reach each other: a path table is measured on
// such, and the one that comes with cohort is chosen by it.

#include <span>

#include <cohort/path_table.hpp>

#include "backend/cuda/abi.hpp"

namespace cohort {

/// The link between two devices that this process sees.
GpuLink link_between(const cuda::Api& api, std::uint32_t device, std::uint32_t peer);

/// The least link from `device` to any of `others`, which are the devices of all ranks, one of them
/// `device` itself, as PCI addresses tell. `unknown` if there is no other, or one that this process
/// does not see.
GpuLink least_link(const cuda::Api& api, std::uint32_t device,
                   std::span<const cuda::DeviceFacts> others);

/// Unlike devices have all their names. Pure. Requires: at least one.
Gpus gpus_of(std::span<const cuda::DeviceFacts> devices, GpuLink link);

/// All devices of this process. Throws: Error{cuda, unsupported}.
Gpus gpus_of_process(const cuda::Api& api);

}  // namespace cohort
