// Gloo over TCP on the loopback device, which is how engines use it on one host.

#include <gloo/allgather.h>
#include <gloo/allreduce.h>
#include <gloo/barrier.h>
#include <gloo/broadcast.h>
#include <gloo/math.h>
#include <gloo/rendezvous/context.h>
#include <gloo/rendezvous/file_store.h>
#include <gloo/transport/tcp/device.h>
#include <unistd.h>

#include <cstdio>
#include <exception>
#include <filesystem>
#include <memory>

#include "bench_worker.hpp"

namespace cohort::bench {
namespace {

using ReduceFunction = void (*)(void*, const void*, const void*, std::size_t);

class GlooSubject final : public Subject {
 public:
  GlooSubject(const WorkerSettings& settings, std::size_t pool)
      : rank_(settings.rank), rank_count_(settings.rank_count), pools_(ordinary_pools(pool)) {
    const std::string folder =
        (std::filesystem::temp_directory_path() / settings.socket).string() + "-gloo";
    std::filesystem::create_directories(folder);
    gloo::rendezvous::FileStore store(folder);
    gloo::transport::tcp::attr attributes;
    attributes.hostname = "127.0.0.1";
    auto device = gloo::transport::tcp::CreateDevice(attributes);
    auto context = std::make_shared<gloo::rendezvous::Context>(static_cast<int>(rank_),
                                                               static_cast<int>(rank_count_));
    context->connectFullMesh(store, device);
    context_ = context;
    gloo::BarrierOptions barrier(context_);
    gloo::barrier(barrier);
    std::error_code ignored;
    if (rank_ == 0) std::filesystem::remove_all(folder, ignored);
  }

  std::uint32_t rank() const override { return rank_; }
  std::uint32_t rank_count() const override { return rank_count_; }
  /// This version's reduce_scatter exists only as an older interface with buffers of its own.
  bool supports(const Job& job) const override {
    return job.op == "all_reduce" || job.op == "all_gather" || job.op == "broadcast" ||
           job.op == "barrier" || job.op == "agreement";
  }
  Pools pools(const Job& /*job*/) override { return pools_; }
  void begin(const Job& job) override { job_ = job; }
  void run(const std::byte* input, std::byte* output) override {
    if (job_.dtype == "f32") return run_as<float>(input, output);
    if (job_.dtype == "i32") return run_as<std::int32_t>(input, output);
    run_as<std::int64_t>(input, output);
  }

 private:
  template <typename T>
  void run_as(const std::byte* input, std::byte* output) {
    T* in = reinterpret_cast<T*>(const_cast<std::byte*>(input));
    T* out = reinterpret_cast<T*>(output);
    const std::size_t all = job_.bytes / sizeof(T);
    if (job_.op == "all_gather") {
      gloo::AllgatherOptions options(context_);
      if (!job_.in_place) options.setInput(in, all / rank_count_);
      options.setOutput(out, all);
      gloo::allgather(options);
    } else if (job_.op == "broadcast") {
      gloo::BroadcastOptions options(context_);
      options.setOutput(out, all);
      options.setRoot(0);
      gloo::broadcast(options);
    } else if (job_.op == "barrier") {
      gloo::BarrierOptions options(context_);
      gloo::barrier(options);
    } else {
      gloo::AllreduceOptions options(context_);
      if (!job_.in_place) options.setInput(in, all);
      options.setOutput(out, all);
      const ReduceFunction sum = &gloo::sum<T>;
      const ReduceFunction least = &gloo::min<T>;
      options.setReduceFunction(job_.op == "agreement" ? least : sum);
      gloo::allreduce(options);
    }
  }

  std::uint32_t rank_;
  std::uint32_t rank_count_;
  Pools pools_;
  std::shared_ptr<gloo::Context> context_;
  Job job_;
};

}  // namespace
}  // namespace cohort::bench

int main() {
  using namespace cohort::bench;
  try {
    const WorkerSettings settings = worker_settings();
    GlooSubject subject(settings, pool_bytes(settings.bytes_max));
    serve(subject, settings);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
