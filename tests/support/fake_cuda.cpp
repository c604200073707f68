#include "support/fake_cuda.hpp"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <span>
#include <string>
#include <utility>

#include "collectives/host/reduce.hpp"
#include "support/fake_cuda_streams.hpp"
#include "support/fake_kernel.hpp"
#include "support/fake_norm.hpp"

namespace cohort::test {
namespace {

using cuda::Device;
using cuda::KernelCall;
using cuda::Status;
using cuda::StreamHandle;

FakeStream* stream_of(StreamHandle handle) {
  return static_cast<FakeStream*>(handle);
}

void* pointer(cuda::Address address) {
  return reinterpret_cast<void*>(static_cast<std::uintptr_t>(address));  // NOLINT
}

bool is_capturing(StreamHandle handle) {
  return handle != nullptr && stream_of(handle)->capturing();
}

Status refusal(const std::string& why) {
  Status status;
  status.code = Status::Code::usage;
  std::snprintf(status.text, sizeof status.text, "%s", why.c_str());
  return status;
}

Status limit_early(Device* /*device*/, std::uint32_t threads) {
  fake_cuda().early_threads = threads;
  return {};
}

Status launch(Device* /*device*/, const KernelCall* call) {
  const std::string fault = fault_of_launch(*call);
  if (!fault.empty()) return refusal(fault);
  if (!is_capturing(call->stream)) {
    run_fake_kernel(*call);
    return {};
  }
  // Counts are the caller's only until `launch` returns.
  const std::size_t members = call->members.count;
  std::vector<std::uint64_t> counts;
  if (call->counts != nullptr) {
    counts.assign(call->counts,
                  call->counts + (call->op == Op::all_to_allv ? members * members : members));
  }
  stream_of(call->stream)->keep([kept = *call, counts = std::move(counts)]() mutable {
    if (!counts.empty()) kept.counts = counts.data();
    run_fake_kernel(kept);
  });
  return {};
}

Status enqueue_copy(Device* /*device*/, cuda::Address to, cuda::Address from, std::size_t bytes,
                    StreamHandle stream) {
  const auto copy = [to, from, bytes] { std::memmove(pointer(to), pointer(from), bytes); };
  if (is_capturing(stream)) {
    stream_of(stream)->keep(copy);
  } else {
    copy();
  }
  return {};
}

Status reduce_alone(Device* /*device*/, cuda::Address to, cuda::Address from,
                    std::uint64_t elements, DType dtype, StreamHandle stream) {
  const auto run = [=] {
    const auto* const input = static_cast<const std::byte*>(pointer(from));
    host::reduce(std::span(&input, 1), static_cast<std::byte*>(pointer(to)), elements, dtype,
                 ReduceOp::sum);
  };
  if (is_capturing(stream)) {
    stream_of(stream)->keep(run);
  } else {
    run();
  }
  return {};
}

Status create_stream(Device* /*device*/, StreamHandle* stream) {
  *stream = new FakeStream;
  return {};
}

void destroy_stream(Device* /*device*/, StreamHandle stream) {
  delete stream_of(stream);
}

Status is_done(Device* /*device*/, StreamHandle stream, bool* done) {
  *done = stream == nullptr || !stream_of(stream)->blocked();
  return {};
}

Status ask_capturing(Device* /*device*/, StreamHandle stream, bool* capturing) {
  *capturing = is_capturing(stream);
  return {};
}

}  // namespace

FakeStream::FakeStream() = default;
FakeStream::~FakeStream() = default;

std::function<void()> FakeStream::end_capture() {
  capturing_ = false;
  return [launches = std::exchange(kept_, {}), held = std::exchange(held_, {})] {
    for (const auto& run : launches) run();
  };
}

const cuda::Api& fake_cuda_api() {
  static const cuda::Api api = [] {
    cuda::Api table{};
    set_memory_functions(table);
    table.limit_early = limit_early;
    table.launch = launch;
    table.enqueue_copy = enqueue_copy;
    table.reduce_alone = reduce_alone;
    table.is_done = is_done;
    table.create_stream = create_stream;
    table.destroy_stream = destroy_stream;
    table.is_capturing = ask_capturing;
    set_stream_functions(table);
    set_norm_functions(table);
    return table;
  }();
  return api;
}

}  // namespace cohort::test
