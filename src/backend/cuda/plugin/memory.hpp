#pragma once

// Memory of a device: physical pieces that can be passed on, addresses to put them at, and what is
// written there from outside of kernels.

#include <cuda.h>

#include <cstddef>
#include <cstdint>

#include "backend/cuda/abi.hpp"
#include "backend/cuda/plugin/device.hpp"

namespace cohort::cuda {

CUmemAllocationProp memory_kind(const Device& device) noexcept;
/// Calls once what copies, fills and pokes: the driver loads its own code when it is first needed,
/// and would wait for running kernels then. Requires: the device's context is current.
Status touch_memory_functions(const Device& device) noexcept;

/// Requires: the device's context is current.
Status wait_for_copies(const Device& device) noexcept;

Status granule(Device* device, std::size_t* bytes);
Status reserve(Device* device, std::size_t bytes, Address* address);
void free_range(Device* device, Address address, std::size_t bytes);
Status create(Device* device, std::size_t bytes, MemoryHandle* memory);
Status export_fd(Device* device, MemoryHandle memory, int* fd);
Status import_fd(Device* device, int fd, MemoryHandle* memory);
void destroy(Device* device, MemoryHandle memory);
Status map(Device* device, Address address, std::size_t bytes, MemoryHandle memory);
void unmap(Device* device, Address address, std::size_t bytes);
Status fill(Device* device, Address address, std::uint32_t word, std::size_t bytes);
Status copy(Device* device, Address to, Address from, std::size_t bytes);
Status allocate_mapped(Device* device, std::size_t bytes, void** host, Address* address);
void free_mapped(Device* device, void* host);
Status poke(Device* device, Address address, std::uint32_t word);

}  // namespace cohort::cuda
