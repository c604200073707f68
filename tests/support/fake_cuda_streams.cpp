#include "support/fake_cuda_streams.hpp"

#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "support/fake_cuda.hpp"

namespace cohort::test {
namespace {

using cuda::CopyPiece;
using cuda::Device;
using cuda::GraphHandle;
using cuda::Status;
using cuda::StreamHandle;

using Graph = std::function<void()>;

FakeStream* stream_of(StreamHandle handle) {
  return static_cast<FakeStream*>(handle);
}

/// The fake's addresses are the process's own.
std::byte* pointer(cuda::Address address) noexcept {
  return reinterpret_cast<std::byte*>(address);  // NOLINT(performance-no-int-to-ptr)
}

void copy(const CopyPiece& piece) {
  for (std::uint64_t row = 0; row < piece.rows; ++row) {
    std::byte* const to = pointer(piece.to + row * piece.to_stride);
    if (piece.from == 0) {
      std::memset(to, 0, piece.row_bytes);
    } else {
      std::memcpy(to, pointer(piece.from + row * piece.from_stride), piece.row_bytes);
    }
  }
}

Status copy_pieces(Device* /*device*/, const CopyPiece* pieces, std::uint32_t count,
                   StreamHandle stream) {
  Status status;
  if (count > cuda::kCopyPiecesMax) {
    status.code = Status::Code::usage;
    std::snprintf(status.text, sizeof status.text, "%u pieces to copy in one launch", count);
    return status;
  }
  // The last first: a device knows no order among them.
  const auto run = [kept = std::vector<CopyPiece>(pieces, pieces + count)] {
    for (std::size_t i = kept.size(); i-- > 0;) copy(kept[i]);
  };
  if (stream != nullptr && stream_of(stream)->capturing()) {
    stream_of(stream)->keep(run);
  } else {
    run();
  }
  return status;
}

Status create_stream(Device* /*device*/, StreamHandle* stream) {
  *stream = new FakeStream;
  return {};
}

void destroy_stream(Device* /*device*/, StreamHandle stream) {
  delete stream_of(stream);
}

Status begin_capture(Device* /*device*/, StreamHandle stream) {
  stream_of(stream)->begin_capture();
  return {};
}

Status end_capture(Device* /*device*/, StreamHandle stream, GraphHandle* graph) {
  *graph = new Graph(stream_of(stream)->end_capture());
  return {};
}

Status launch_graph(Device* /*device*/, GraphHandle graph, StreamHandle /*stream*/) {
  (*static_cast<Graph*>(graph))();
  return {};
}

void destroy_graph(Device* /*device*/, GraphHandle graph) {
  delete static_cast<Graph*>(graph);
}

/// On a thread of its own, as a driver has it.
Status retain_in_graph(Device* /*device*/, StreamHandle stream, void (*release)(void* held),
                       void* held) {
  Status status;
  if (stream == nullptr || !stream_of(stream)->capturing()) {
    status.code = Status::Code::usage;
    std::snprintf(status.text, sizeof status.text, "the stream is not being captured");
    return status;
  }
  stream_of(stream)->hold(std::shared_ptr<void>(
      held, [release](void* object) { std::thread([=] { release(object); }).join(); }));
  return status;
}

}  // namespace

void set_stream_functions(cuda::Api& api) {
  api.copy_pieces = copy_pieces;
  api.create_stream = create_stream;
  api.destroy_stream = destroy_stream;
  api.begin_capture = begin_capture;
  api.end_capture = end_capture;
  api.launch_graph = launch_graph;
  api.destroy_graph = destroy_graph;
  api.retain_in_graph = retain_in_graph;
}

}  // namespace cohort::test
