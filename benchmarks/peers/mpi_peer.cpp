// Any MPI as a measured implementation. Built once with each MPI's own compiler wrapper.

#include <mpi.h>

#include <cstdio>
#include <exception>
#include <map>

#include "bench_worker.hpp"

namespace cohort::bench {
namespace {

class MpiSubject final : public Subject {
 public:
  explicit MpiSubject(std::size_t pool) : pools_(ordinary_pools(pool)) {
    MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
    MPI_Comm_size(MPI_COMM_WORLD, &rank_count_);
  }

  std::uint32_t rank() const override { return static_cast<std::uint32_t>(rank_); }
  std::uint32_t rank_count() const override { return static_cast<std::uint32_t>(rank_count_); }
  bool supports(const Job& job) const override { return calls().count(job.op) != 0; }
  Pools pools(const Job& /*job*/) override { return pools_; }
  void begin(const Job& job) override {
    type_ = job.dtype == "f32" ? MPI_FLOAT : job.dtype == "i32" ? MPI_INT32_T : MPI_INT64_T;
    const std::size_t element = element_bytes(job.dtype);
    all_ = static_cast<int>(job.bytes / element);
    part_ = all_ / rank_count_;
    call_ = calls().at(job.op);
    in_place_ = job.in_place;
  }
  void run(const std::byte* operand, std::byte* output) override {
    const void* const input = in_place_ ? MPI_IN_PLACE : static_cast<const void*>(operand);
    switch (call_) {
      case Call::all_reduce:
        MPI_Allreduce(input, output, all_, type_, MPI_SUM, MPI_COMM_WORLD);
        return;
      case Call::all_gather:
        MPI_Allgather(input, part_, type_, output, part_, type_, MPI_COMM_WORLD);
        return;
      case Call::reduce_scatter:
        MPI_Reduce_scatter_block(input, output, part_, type_, MPI_SUM, MPI_COMM_WORLD);
        return;
      case Call::broadcast: MPI_Bcast(output, all_, type_, 0, MPI_COMM_WORLD); return;
      case Call::agreement:
        MPI_Allreduce(input, output, all_, type_, MPI_MIN, MPI_COMM_WORLD);
        return;
      case Call::barrier: MPI_Barrier(MPI_COMM_WORLD); return;
    }
  }

 private:
  enum class Call { all_reduce, all_gather, reduce_scatter, broadcast, agreement, barrier };

  static const std::map<std::string, Call>& calls() {
    static const std::map<std::string, Call> known{
        {"all_reduce", Call::all_reduce},         {"all_gather", Call::all_gather},
        {"reduce_scatter", Call::reduce_scatter}, {"broadcast", Call::broadcast},
        {"agreement", Call::agreement},           {"barrier", Call::barrier}};
    return known;
  }

  Pools pools_;
  int rank_ = 0;
  int rank_count_ = 1;
  MPI_Datatype type_ = MPI_FLOAT;
  int all_ = 0;
  int part_ = 0;
  Call call_ = Call::barrier;
  bool in_place_ = false;
};

}  // namespace
}  // namespace cohort::bench

int main(int argument_count, char** arguments) {
  using namespace cohort::bench;
  MPI_Init(&argument_count, &arguments);
  try {
    const WorkerSettings settings = worker_settings();
    MpiSubject subject(pool_bytes(settings.bytes_max));
    bind_to_cpu(subject.rank());
    serve(subject, settings);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    MPI_Abort(MPI_COMM_WORLD, 1);
  }
  MPI_Finalize();
  return 0;
}
