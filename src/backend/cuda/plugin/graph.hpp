#pragma once

// Streams and graphs that the library makes for itself, and what graphs own of it.

#include "backend/cuda/abi.hpp"
#include "backend/cuda/plugin/device.hpp"

namespace cohort::cuda {

Status create_stream(Device* device, StreamHandle* stream);
void destroy_stream(Device* device, StreamHandle stream);
Status begin_capture(Device* device, StreamHandle stream);
Status end_capture(Device* device, StreamHandle stream, GraphHandle* graph);
Status launch_graph(Device* device, GraphHandle graph, StreamHandle stream);
void destroy_graph(Device* device, GraphHandle graph);
Status retain_in_graph(Device* device, StreamHandle stream, void (*release)(void* held),
                       void* held);

}  // namespace cohort::cuda
