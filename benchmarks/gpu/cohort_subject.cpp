#include "cohort_subject.hpp"

#include <chrono>
#include <cstring>
#include <span>
#include <stdexcept>
#include <utility>

#include <cohort/cohort.hpp>

namespace cohort::gpu_bench {
namespace {

constexpr std::uint32_t kExplainCalls = 100'000;
constexpr std::size_t kBlockBytes = 4096;
/// Pinned sessions hold no operands, only scratch: for as much as is measured.
constexpr std::size_t kPlannedBytes = std::size_t{128} << 20;

/// A committed session, with the world that it lives in.
struct Job {
  Job(std::shared_ptr<World> shared_world, const Plan& plan)
      : world(std::move(shared_world)), session(commit(*world, plan)) {}
  std::shared_ptr<World> world;
  Session session;
};

class CohortSubject final : public GraphSubject {
 public:
  CohortSubject(std::string name, Ranks& ranks, Gpu& gpu, std::byte* pool, std::shared_ptr<Job> job,
                std::optional<Path> path)
      : GraphSubject(std::move(name), ranks, gpu, pool),
        job_(std::move(job)),
        group_(job_->session.group(GroupKind::world).on(Stream{gpu.stream})),
        path_(path) {}

  std::optional<std::string> refuses(const Point& point) override {
    if (path_ && is_layers(point.operation)) return "steps take the paths of the table";
    if (path_) {
      const std::size_t agreed = is_gather(point.operation) ? point.bytes / ranks().count()
                                                            : static_cast<std::size_t>(point.bytes);
      const PathChoice choice =
          job_->session.explain(GroupKind::world, op_of(point.operation), point.dtype, agreed);
      if (choice.path != *path_) return "another path is taken";
    }
    return GraphSubject::refuses(point);
  }
  std::uint64_t verify(std::uint32_t seed) override {
    const std::uint64_t wrong = GraphSubject::verify(seed);
    job_->session.wait(Stream{gpu().stream});
    return wrong;
  }
  double replay_us() override {
    const double us = GraphSubject::replay_us();
    job_->session.wait(Stream{gpu().stream});
    return us;
  }
  std::string note() const override {
    return gathered_ ? text_of(*gathered_) + " then " + text_of(verdict_) : text_of(verdict_);
  }
  void finish() override {
    if (job_.use_count() == 1) job_->session.close();
    job_.reset();
  }

 private:
  static std::string text_of(const Verdict& verdict) {
    std::string text(to_string(verdict.path));
    if (verdict.reason != Reason::ok) text += ", " + std::string(to_string(verdict.reason));
    return text;
  }

  bool fuses() const override { return true; }
  bool pads() const override { return false; }
  /// Norms add to their residual in place, and all_reduce with one may leave anything in its
  /// operand.
  bool overwrites(const Point& point) const override {
    return point.operation == Operation::all_reduce_norm ||
           point.operation == Operation::layer_step_tp;
  }

  void begin(const Point& point) override {
    gathered_.reset();
    if (is_layers(point.operation)) return;
    shares_ = shares_of(point, ranks().count());
    counts_.clear();
    for (std::uint32_t rank = 0; rank < ranks().count(); ++rank)
      counts_.push_back(shares_.of(rank));
  }

  void enqueue(const Point& point, std::byte* input, std::byte* output) override {
    const std::size_t mine = counts_[ranks().rank()];
    const ConstTensor whole{input, shares_.total, point.dtype};
    const ConstTensor part{input, mine, point.dtype};
    const Tensor whole_out{output, shares_.total, point.dtype};
    const Tensor part_out{output, mine, point.dtype};
    switch (point.operation) {
      case Operation::all_reduce:
        verdict_ = group_.all_reduce(whole, whole_out, ReduceOp::sum);
        break;
      case Operation::all_reduce_norm:
        verdict_ = group_.all_reduce_rms_norm(
            {input, shares_.total, point.dtype},
            norm_of(gpu().residual, gpu().weight, output, shares_.total));
        break;
      case Operation::all_gather: verdict_ = group_.all_gather(part, whole_out); break;
      case Operation::reduce_scatter:
        verdict_ = group_.reduce_scatter(whole, part_out, ReduceOp::sum);
        break;
      case Operation::all_gatherv: verdict_ = group_.all_gatherv(part, whole_out, counts_); break;
      case Operation::reduce_scatterv:
        verdict_ = group_.reduce_scatterv(whole, part_out, counts_, ReduceOp::sum);
        break;
      case Operation::layer_step:
      case Operation::layer_step_tp: break;  // several calls
    }
  }

  static RmsNorm norm_of(void* residual, const void* weight, void* normed, std::size_t elements) {
    RmsNorm norm;
    norm.residual = {residual, elements, DType::bf16};
    norm.weight = {weight, kHidden, DType::bf16};
    norm.normed = {normed, elements, DType::bf16};
    return norm;
  }

  /// Elements of each rank; nothing where all have as many.
  std::vector<std::size_t> uneven_counts(const LayerStep& step) const {
    std::vector<std::size_t> counts;
    for (std::uint32_t rank = 0; rank < ranks().count(); ++rank)
      counts.push_back(step.rows().of(rank) * kHidden);
    // The first ranks have the most.
    if (counts.front() == counts.back()) counts.clear();
    return counts;
  }

  void gather_rows(const LayerStep& step, std::byte* whole, std::byte* own) override {
    const ConstTensor mine{own, step.own_rows() * kHidden, DType::bf16};
    const Tensor all{whole, step.rows().total * kHidden, DType::bf16};
    const std::vector<std::size_t> counts = uneven_counts(step);
    gathered_ =
        counts.empty() ? group_.all_gather(mine, all) : group_.all_gatherv(mine, all, counts);
  }

  void add_rows(const LayerStep& step, std::byte* addend, std::byte* sum,
                const Norm& norm) override {
    const std::size_t own = step.own_rows() * kHidden;
    const Tensor all{addend, step.rows().total * kHidden, DType::bf16};
    const Tensor mine{sum, own, DType::bf16};
    const RmsNorm behind = norm_of(norm.residual_out, norm.weight, norm.normed, own);
    if (!step.scatters()) {
      verdict_ = group_.all_reduce_rms_norm(all, behind);
      return;
    }
    const std::vector<std::size_t> counts = uneven_counts(step);
    verdict_ = counts.empty() ? group_.reduce_scatter_rms_norm(all, mine, behind)
                              : group_.reduce_scatterv_rms_norm(all, mine, counts, behind);
  }

  std::shared_ptr<Job> job_;
  Group group_;
  std::optional<Path> path_;
  Shares shares_;
  std::vector<std::size_t> counts_;
  Verdict verdict_;
  std::optional<Verdict> gathered_;  // of the gather in a step of layers
};

std::shared_ptr<World> join(Ranks& ranks) {
  const auto gather = [&ranks](std::span<const std::byte> mine, Bootstrap::TimePoint) {
    return ranks.gather(mine);
  };
  return std::make_shared<World>(
      World::join(Bootstrap::from_callback(WorldRank(ranks.rank()), ranks.count(), gather)));
}

PlanOptions options_with(PathTable table) {
  PlanOptions options;
  options.memory = Memory::cuda;
  options.path_table = std::move(table);
  return options;
}

/// One slot that is as large as the operands that are measured.
SlotId add_slot(Plan& plan, std::size_t bytes) {
  return plan.slot("operands", {.groups = {GroupKind::world},
                                .dtype = DType::u8,
                                .rows_max = bytes >> 20,
                                .row_elements = std::size_t{1} << 20});
}

double explain_ns(const Session& session) {
  std::size_t paths = 0;
  const auto begin = std::chrono::steady_clock::now();
  for (std::uint32_t i = 0; i < kExplainCalls; ++i) {
    const PathChoice choice =
        session.explain(GroupKind::world, Op::all_reduce, DType::bf16, 1024 + i);
    paths += static_cast<std::size_t>(choice.path);
  }
  const std::chrono::duration<double, std::nano> spent = std::chrono::steady_clock::now() - begin;
  // The sum is used, so that no call can be left out.
  return paths > 0 ? spent.count() / kExplainCalls : 0;
}

/// Whether an operand lies where all members of the group expect it.
double group_check_ns(const Session& session, const Buffer& operands) {
  std::uint32_t others = 0;
  const auto begin = std::chrono::steady_clock::now();
  for (std::uint32_t i = 0; i < kExplainCalls; ++i)
    if (!session.is_symmetric(operands.as<std::byte>() + i, 1024, GroupKind::world)) ++others;
  const std::chrono::duration<double, std::nano> spent = std::chrono::steady_clock::now() - begin;
  if (others > 0) throw std::runtime_error("a slot of the heap is not symmetric");
  return spent.count() / kExplainCalls;
}

/// Time of one allocation and release by the number of live blocks. SPMD.
Json scope_ns(Session& session) {
  Json costs;
  Scope scope = session.scope(GroupKind::world);
  std::uint32_t live = 0;
  for (const std::uint32_t blocks : {10U, 1000U, 10'000U}) {
    for (; live < blocks; ++live) scope.allocate(DType::u8, 1, kBlockBytes);
    const auto begin = std::chrono::steady_clock::now();
    for (std::uint32_t i = 0; i < kExplainCalls; ++i)
      scope.release(scope.allocate(DType::u8, 1, kBlockBytes));
    const std::chrono::duration<double, std::nano> spent = std::chrono::steady_clock::now() - begin;
    costs.number(std::to_string(blocks), spent.count() / kExplainCalls);
  }
  return costs;
}

}  // namespace

std::vector<std::unique_ptr<Subject>> cohort_subjects(Ranks& ranks, Gpu& gpu, Json& facts) {
  const std::shared_ptr<World> world = join(ranks);
  const Layout layout({.tp = ranks.count()});
  std::vector<std::unique_ptr<Subject>> subjects;
  const auto add = [&](const std::string& name, std::byte* pool, const std::shared_ptr<Job>& job,
                       std::optional<Path> path) {
    subjects.push_back(std::make_unique<CohortSubject>(name, ranks, gpu, pool, job, path));
  };

  Plan plan(layout, options_with(PathTable()));
  const SlotId slot = add_slot(plan, kPoolBytes);
  plan.pool("blocks", {.groups = {GroupKind::world},
                       .bytes = std::size_t{64} << 20,
                       .block_bytes_max = kBlockBytes});
  const auto chosen = std::make_shared<Job>(world, plan);
  const Buffer operands = chosen->session.take(slot);
  std::byte* ordinary = ordinary_pool();
  add("cohort", operands.as<std::byte>(), chosen, std::nullopt);
  add("cohort_outside", ordinary, chosen, std::nullopt);

  for (const Path path : {Path::gpu_ll, Path::gpu_lamport, Path::gpu_two_shot}) {
    if (path == Path::gpu_two_shot && ranks.count() == 2) continue;  // of no use there
    Plan pinned(layout, options_with(PathTable::pinned(path)));
    add_slot(pinned, kPlannedBytes);
    add("cohort_" + std::string(to_string(path)), ordinary, std::make_shared<Job>(world, pinned),
        path);
  }
  facts.number("explain_ns", explain_ns(chosen->session))
      .number("group_check_ns", group_check_ns(chosen->session, operands))
      .object("scope_ns", scope_ns(chosen->session))
      .number("registrations_since_commit",
              static_cast<double>(chosen->session.registrations_since_commit()))
      .number("measured_bytes", static_cast<double>(chosen->session.measured_bytes()))
      .number(
          "planned_bytes",
          static_cast<double>(chosen->session.footprint().planned_bytes(WorldRank(ranks.rank()))));
  return subjects;
}

}  // namespace cohort::gpu_bench
