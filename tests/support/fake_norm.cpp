#include "support/fake_norm.hpp"

#include <cstddef>
#include <cstdio>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "collectives/cuda/kernels/extents.hpp"
#include "collectives/cuda/norm_shape.hpp"
#include "collectives/rms_norm.hpp"
#include "support/fake_cuda.hpp"
#include "support/fake_kernel.hpp"

namespace cohort::test {
namespace {

using cuda::Address;
using cuda::Device;
using cuda::KernelCall;
using cuda::Norm;
using cuda::Status;
using cuda::StreamHandle;

/// The fake's addresses are the process's own.
void* pointer(Address address) noexcept {
  return reinterpret_cast<void*>(address);  // NOLINT(performance-no-int-to-ptr)
}

Status refusal(const std::string& why) {
  Status status;
  status.code = Status::Code::usage;
  std::snprintf(status.text, sizeof status.text, "%s", why.c_str());
  return status;
}

/// Why the plugin would refuse the norm.
std::string fault_of(const Norm& norm) {
  if (norm.output != cuda::NormOutput::plain) return "norm: the fake knows plain outputs only";
  if (norm.dtype != DType::bf16 && norm.dtype != DType::f16) return "norm: type";
  if (norm.hidden == 0 || norm.hidden > cuda::kHiddenMax ||
      norm.hidden % cuda::kNormLineElements != 0) {
    return "norm: rows of " + std::to_string(norm.hidden);
  }
  const Address all = norm.residual | norm.weight | norm.residual_out | norm.normed;
  return all % cuda::kLineBytes == 0 ? "" : "norm: an address is not aligned";
}

void run_norm(const Norm& norm, const void* input, std::uint64_t rows) {
  const auto tensor = [&](Address address, std::uint64_t count) {
    return Tensor{pointer(address), count * norm.hidden, norm.dtype};
  };
  collectives::norm_on_host({tensor(norm.residual, rows), tensor(norm.weight, 1),
                             tensor(norm.normed, rows), norm.epsilon},
                            input);
}

Status put(StreamHandle stream, std::function<void()> work) {
  auto* const fake = static_cast<FakeStream*>(stream);
  if (fake != nullptr && fake->capturing()) {
    fake->keep(std::move(work));
  } else {
    work();
  }
  return {};
}

Status launch_norm(Device* /*device*/, const Norm* norm, Address input, std::uint64_t rows,
                   StreamHandle stream) {
  if (const std::string fault = fault_of(*norm); !fault.empty()) return refusal(fault);
  return put(stream, [norm = *norm, input, rows] { run_norm(norm, pointer(input), rows); });
}

void run_fused(KernelCall call, const std::vector<std::uint64_t>& counts, const Norm& norm) {
  if (!counts.empty()) call.counts = counts.data();
  const std::uint64_t bytes = counts.empty() ? call.bytes : call.counts[call.members.self];
  std::vector<std::uint64_t> sum(bytes / sizeof(std::uint64_t) + 1);
  call.output = reinterpret_cast<Address>(sum.data());
  run_fake_kernel(call);
  run_norm(norm, sum.data(), bytes / (norm.hidden * bytes_of(norm.dtype)));
}

Status launch_fused(Device* /*device*/, const cuda::FusedCall* fused) {
  const KernelCall& call = fused->call;
  std::string fault = fault_of(fused->norm);
  const cuda::NormShape shape = cuda::norm_shape(fused->norm.hidden);
  if (fault.empty() &&
      (call.threads != shape.threads || call.lines_per_thread != shape.lines_per_thread ||
       call.protocol != cuda::Protocol::sentinel)) {
    fault = "launch_fused: the grid does not follow from the row";
  }
  if (fault.empty() && (fused->blocks_per_row == 0 || call.blocks % fused->blocks_per_row != 0)) {
    fault = "launch_fused: blocks that push a row together are missing some";
  }
  if (fault.empty() && call.threads + 1 < call.members.count) {
    fault = "launch_fused: more headers than threads";
  }
  if (fault.empty()) {
    KernelCall loops = call;  // its grid need not cover the operands
    loops.algorithm = cuda::Algorithm::split;
    fault = fault_of_launch(loops);
  }
  if (!fault.empty()) return refusal(fault);
  std::vector<std::uint64_t> counts;
  if (call.counts != nullptr) counts.assign(call.counts, call.counts + call.members.count);
  return put(call.stream, [call, counts = std::move(counts), norm = fused->norm] {
    run_fused(call, counts, norm);
  });
}

}  // namespace

void set_norm_functions(cuda::Api& api) {
  api.launch_norm = launch_norm;
  api.launch_fused = launch_fused;
}

}  // namespace cohort::test
