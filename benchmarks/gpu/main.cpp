// Collectives of GPUs: cohort's paths, NCCL, PyTorch and the bounds of the hardware, in turns.

#include <cuda_runtime_api.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>

#include "bound_subject.hpp"
#include "cohort_subject.hpp"
#include "kernel_subject.hpp"
#include "kernels.hpp"
#include "measure.hpp"
#include "nccl_subject.hpp"
#include "torch_subject.hpp"

namespace cohort::gpu_bench {
namespace {

/// Flags and what else lies behind the operands of the bounds.
constexpr std::size_t kArenaBytes = 2 * kPoolBytes;

/// What could not be measured at all, with the reason.
struct Absent {
  std::string name;
  std::string reason;
};

using Subjects = std::vector<std::unique_ptr<Subject>>;

/// Adds what `make` finds; if it fails on one rank, nobody has it.
void add(Subjects& subjects, std::vector<Absent>& absent, Ranks& ranks, const char* name,
         const std::function<Subjects()>& make) {
  Subjects found;
  std::string mine;
  try {
    found = make();
  } catch (const std::exception& error) {
    mine = error.what();
  }
  const std::string failure = ranks.first_text(mine);
  if (!failure.empty()) {
    absent.push_back({name, failure});
    return;
  }
  for (auto& subject : found) subjects.push_back(std::move(subject));
}

Json machine(const Ranks& ranks, int nccl_version, const std::string& torch_version) {
  cudaDeviceProp properties{};
  int driver = 0;
  int runtime = 0;
  require(cudaGetDeviceProperties(&properties, 0), "cudaGetDeviceProperties");
  require(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
  require(cudaRuntimeGetVersion(&runtime), "cudaRuntimeGetVersion");
  Json json;
  json.text("kind", "machine")
      .text("device", properties.name)
      .number("devices", ranks.count())
      .number("multiprocessors", properties.multiProcessorCount)
      .number("cache_bytes", properties.l2CacheSize)
      .number("cuda_driver", driver)
      .number("cuda_runtime", runtime)
      .number("nccl", nccl_version)
      .text("torch", torch_version);
  return json;
}

int run(const Options& options) {
  const auto begin = std::chrono::steady_clock::now();
  const std::string store = "/tmp/cohort_gpu_bench_" + std::to_string(::getpid());
  Ranks ranks = Ranks::fork_all(options.ranks, 100);
  // Multicast objects can put shared machines out of service, and lazily loaded kernels wait for
  // those that run.
  ::setenv("NCCL_NVLS_ENABLE", "0", 1);
  ::setenv("TORCH_SYMM_MEM_DISABLE_MULTICAST", "1", 1);
  ::setenv("CUDA_MODULE_LOADING", "EAGER", 1);
  // PyTorch takes seconds to start: in the meantime the others get ready.
  std::shared_ptr<TorchProcess> torch;
  if (!options.torch.empty()) torch = start_torch(ranks, options.torch, store);
  Output output(options.out, ranks.rank() == 0);
  Gpu gpu(ranks.rank());
  Arena arena(ranks, kArenaBytes);

  int nccl_version = 0;
  std::string torch_version;
  Subjects subjects;
  std::vector<Absent> absent;
  add(subjects, absent, ranks, "bounds", [&] { return bound_subjects(ranks, gpu, arena); });
  Json facts;
  if (!options.plugin.empty()) {
    ::setenv("COHORT_CUDA_PLUGIN", options.plugin.c_str(), 1);
    add(subjects, absent, ranks, "cohort", [&] { return cohort_subjects(ranks, gpu, facts); });
    add(subjects, absent, ranks, "kernels",
        [&] { return kernel_subjects(ranks, gpu, options.plugin); });
  }
  add(subjects, absent, ranks, "nccl",
      [&] { return nccl_subjects(ranks, gpu, arena, options.nccl, nccl_version); });
  if (torch)
    add(subjects, absent, ranks, "torch", [&] { return torch_subjects(torch, torch_version); });

  output.line(machine(ranks, nccl_version, torch_version));
  output.line(Json().text("kind", "cohort").object("facts", facts));
  for (const Absent& one : absent)
    output.line(Json().text("kind", "absent").text("name", one.name).text("reason", one.reason));
  const std::uint64_t failed = measure(options, begin, ranks, subjects, output);
  for (const auto& subject : subjects) subject->finish();
  ::unlink(store.c_str());
  ranks.barrier();
  return ranks.finish(failed + absent.size() == 0 ? 0 : 1);
}

}  // namespace
}  // namespace cohort::gpu_bench

int main(int count, char** arguments) {
  using namespace cohort::gpu_bench;
  try {
    const Options options = parse_options(count, arguments);
    if (options.help) {
      std::fputs(usage(), stdout);
      return 0;
    }
    // Nothing is torn down in order: processes of a measurement that failed half-way end as they
    // are.
    const int status = run(options);
    std::fflush(nullptr);
    ::_exit(status);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "cohort_gpu_bench: %s\n", error.what());
    ::_exit(2);
  }
}
