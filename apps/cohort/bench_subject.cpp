#include "bench_subject.hpp"

#include <cstdlib>
#include <memory>
#include <string>

#include <cohort/bootstrap.hpp>
#include <cohort/session.hpp>

#include "bench_layer_place.hpp"
#include "bench_reference.hpp"

namespace cohort::bench {
namespace {

constexpr std::size_t kCallsPerRun = 100;

DType dtype_of(const Job& job) {
  if (job.dtype == "f32") return DType::f32;
  return job.dtype == "i32" ? DType::i32 : DType::i64;
}

/// Of one graph: long enough that launching it and waiting for it cost little of each call.
constexpr std::size_t kGraphCalls = 128;

/// Two slots for operands, and a group of one rank beside the group of all.
struct BenchPlan {
  BenchPlan(std::uint32_t ranks, std::size_t pool, const PathTable& paths, Memory memory)
      : plan(Layout({.tp = ranks, .attn_dp = ranks}), {.path_table = paths, .memory = memory}),
        input(plan.slot("bench_input", spec(pool))),
        output(plan.slot("bench_output", spec(pool))) {}

  static SlotSpec spec(std::size_t pool) {
    return {.groups = {GroupKind::tp, GroupKind::attn_tp},
            .dtype = DType::i32,
            .rows_max = pool / 4,
            .row_elements = 1};
  }

  Plan plan;
  SlotId input;
  SlotId output;
};

class CohortSubject : public Subject {
 public:
  CohortSubject(World& world, std::size_t pool, const PathTable& paths, Memory memory)
      : planned_(world.size(), pool, paths, memory),
        session_(commit(world, planned_.plan)),
        group_(session_.group(GroupKind::tp)),
        alone_(session_.group(GroupKind::attn_tp)),
        input_(session_.take(planned_.input)),
        output_(session_.take(planned_.output)),
        rank_(world.rank()) {
    if (memory == Memory::host) ordinary_ = ordinary_pools(pool);
  }

  std::uint32_t rank() const override { return rank_.index(); }
  std::uint32_t rank_count() const override { return group_.size(); }
  bool supports(const Job& job) const override {
    return has_result(job.op) || job.op == "barrier" || job.op == "explain" || job.op == "local";
  }
  Pools pools(const Job& job) override {
    if (!job.in_heap) return ordinary_;
    return {input_.as<std::byte>(), output_.as<std::byte>()};
  }
  void begin(const Job& job) override {
    const DType dtype = dtype_of(job);
    const std::size_t element = bytes_of(dtype);
    in_elements_ = input_bytes(job, rank_count()) / element;
    out_elements_ = output_bytes(job, rank_count()) / element;
    dtype_ = dtype;
    bytes_ = job.bytes;
    call_ = call_named(job.op);
  }
  void run(const std::byte* input, std::byte* output) override { call(input, output); }
  std::size_t calls_per_run() const override { return is_of_host() ? kCallsPerRun : 1; }
  std::string path() const override { return std::string(to_string(verdict_.path)); }
  std::string facts() override {
    return "registrations=" + std::to_string(session_.registrations_since_commit()) +
           " measured_bytes=" + std::to_string(session_.measured_bytes()) +
           " planned_bytes=" + std::to_string(footprint(planned_.plan).planned_bytes(rank_)) +
           " granule_bytes=" + std::to_string(footprint(planned_.plan).granule_bytes);
  }
  std::string table() const override { return session_.path_table().lines().front(); }
  virtual void close() { session_.close(); }

 protected:
  Session& session() noexcept { return session_; }
  /// Calls go into this stream from now on.
  void go_on(Stream stream) {
    group_ = group_.on(stream);
    alone_ = alone_.on(stream);
  }
  void call(const std::byte* input, std::byte* output) {
    (this->*call_)({input, in_elements_, dtype_}, {output, out_elements_, dtype_});
  }
  /// Whether the call is no collective, and so makes `kCallsPerRun` of them.
  bool is_of_host() const noexcept {
    return call_ == &CohortSubject::explain || call_ == &CohortSubject::local;
  }

 private:
  using CallFunction = void (CohortSubject::*)(ConstTensor, Tensor);

  static CallFunction call_named(const std::string& op) {
    if (op == "all_reduce") return &CohortSubject::all_reduce;
    if (op == "all_gather") return &CohortSubject::all_gather;
    if (op == "reduce_scatter") return &CohortSubject::reduce_scatter;
    if (op == "broadcast") return &CohortSubject::broadcast;
    if (op == "agreement") return &CohortSubject::agreement;
    if (op == "explain") return &CohortSubject::explain;
    return op == "local" ? &CohortSubject::local : &CohortSubject::barrier;
  }

  void all_reduce(ConstTensor input, Tensor output) {
    verdict_ = group_.all_reduce(input, output, ReduceOp::sum);
  }
  void all_gather(ConstTensor input, Tensor output) { verdict_ = group_.all_gather(input, output); }
  void reduce_scatter(ConstTensor input, Tensor output) {
    verdict_ = group_.reduce_scatter(input, output, ReduceOp::sum);
  }
  void broadcast(ConstTensor /*input*/, Tensor output) {
    verdict_ = group_.broadcast(output, GroupRank{0});
  }
  void agreement(ConstTensor input, Tensor output) {
    verdict_ = group_.all_reduce(input, output, ReduceOp::min);
  }
  void barrier(ConstTensor /*input*/, Tensor /*output*/) { verdict_ = group_.barrier(); }
  void explain(ConstTensor /*input*/, Tensor /*output*/) {
    for (std::size_t i = 0; i < kCallsPerRun; ++i) {
      const PathChoice choice = session_.explain(GroupKind::tp, Op::all_reduce, dtype_, bytes_ + i);
      verdict_.path = choice.path;
    }
  }
  /// A whole call with header-less path: group check, choice of path, checks, books.
  void local(ConstTensor /*input*/, Tensor /*output*/) {
    for (std::size_t i = 0; i < kCallsPerRun; ++i) {
      verdict_ = alone_.all_reduce(Tensor{output_.data(), 1, DType::i32}, ReduceOp::sum);
    }
  }

  BenchPlan planned_;
  Session session_;
  Group group_;
  Group alone_;
  Buffer input_;
  Buffer output_;
  Pools ordinary_;
  WorldRank rank_;
  CallFunction call_ = nullptr;
  std::size_t in_elements_ = 0;
  std::size_t out_elements_ = 0;
  std::size_t bytes_ = 0;
  DType dtype_ = DType::f32;
  Verdict verdict_;
};

/// In GPU memory: calls are timed in graphs, each one waited for.
class GraphSubject final : public CohortSubject {
 public:
  GraphSubject(World& world, std::size_t pool, const PathTable& paths)
      : CohortSubject(world, pool, paths, Memory::cuda),
        place_(make_place(Memory::cuda, world.rank())) {
    go_on(*place_->stream());
  }

  bool supports(const Job& job) const override {
    return CohortSubject::supports(job) && job.in_heap && !job.rotating;
  }
  void begin(const Job& job) override {
    graph_.reset();
    CohortSubject::begin(job);
  }
  void run(const std::byte* input, std::byte* output) override {
    if (is_of_host()) return call(input, output);
    if (!graph_) {
      graph_ = place_->record([&] {
        for (std::size_t i = 0; i < kGraphCalls; ++i) call(input, output);
      });
    }
    graph_->run();
    place_->wait(session());
  }
  void run_once(const std::byte* input, std::byte* output) override {
    call(input, output);
    place_->wait(session());
  }
  std::size_t calls_per_run() const override {
    return is_of_host() ? CohortSubject::calls_per_run() : kGraphCalls;
  }
  void store(std::byte* to, const std::byte* from, std::size_t bytes) override {
    place_->write(to, from, bytes);
  }
  void load(std::byte* to, const std::byte* from, std::size_t bytes) override {
    place_->read(to, from, bytes);
  }
  void close() override {
    graph_.reset();
    CohortSubject::close();
  }

 private:
  std::unique_ptr<LayerPlace> place_;
  std::unique_ptr<LayerPlace::Recorded> graph_;
};

}  // namespace

void run_bench_rank(const WorkerSettings& settings, const PathTable& paths, Memory memory) {
  const std::size_t pool = pool_bytes(settings.bytes_max);
  if (settings.name == "reference") {
    ReferenceSubject subject(settings, pool);
    bind_to_cpu(settings.rank);
    serve(subject, settings);
    return;
  }
  World world = World::join(Bootstrap::from_environment());
  std::unique_ptr<CohortSubject> subject;
  if (memory == Memory::cuda) {
    subject = std::make_unique<GraphSubject>(world, pool, paths);
  } else {
    subject = std::make_unique<CohortSubject>(world, pool, paths, memory);
    // After the join: it looks at how many CPUs the ranks of this host have between them.
    bind_to_cpu(settings.rank);
  }
  serve(*subject, settings);
  subject->close();
}

}  // namespace cohort::bench
