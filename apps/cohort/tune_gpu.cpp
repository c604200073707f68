#include "tune_gpu.hpp"

#include <algorithm>
#include <array>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include <cohort/bootstrap.hpp>
#include <cohort/session.hpp>
#include <cohort/world.hpp>

#include "backend/cuda/channel_map.hpp"
#include "base/clock.hpp"
#include "bench_layer_place.hpp"
#include "collectives/cuda/nccl_calls.hpp"

namespace cohort {

namespace {

using bench::LayerPlace;

constexpr std::array kOps = {Op::all_reduce, Op::all_gather, Op::reduce_scatter, Op::all_to_all,
                             Op::broadcast};
constexpr std::array<std::uint32_t, 7> kGridThreads = {32, 64, 128, 192, 256, 384, 512};
constexpr std::size_t kElementBytes = 2;
constexpr std::uint32_t kReplaysMax = 1000;

/// What the ranks tell each other, by turns; the turn after next uses the same places again.
struct Shared {
  std::mutex mutex;
  std::array<std::vector<double>, 2> values;
};

/// A session in which every call takes one path, with grids of its own.
class Candidate {
 public:
  Candidate(World& world, const GpuTuneEffort& effort, const PathTable& table)
      : ranks_(world.size()) {
    Plan plan(Layout{{.tp = ranks_}}, {.path_table = table, .memory = Memory::cuda});
    SlotSpec spec{.groups = {GroupKind::tp},
                  .dtype = DType::bf16,
                  .rows_max = effort.bytes_max / kElementBytes,
                  .row_elements = 1};
    const SlotId input = plan.slot("input", spec);
    spec.rows_max *= ranks_;
    const SlotId output = plan.slot("output", spec);
    session_.emplace(commit(world, plan));
    input_ = session_->take(input);
    output_ = session_->take(output);
  }

  Session& session() { return *session_; }
  bool takes(Op op, std::size_t bytes) const {
    return session_->explain(GroupKind::tp, op, DType::bf16, bytes).reason == Reason::ok;
  }
  void close() { session_->close(); }

  void run(Op op, std::size_t elements, Stream stream) {
    const Group group = session_->group(GroupKind::tp).on(stream);
    const Tensor input = input_.elements(elements);
    switch (op) {
      case Op::all_reduce:
        static_cast<void>(group.all_reduce(input, output_.elements(elements), ReduceOp::sum));
        return;
      case Op::broadcast: static_cast<void>(group.broadcast(input, GroupRank{0})); return;
      case Op::all_gather:
        static_cast<void>(group.all_gather(input, output_.elements(elements * ranks_)));
        return;
      case Op::reduce_scatter:
        static_cast<void>(
            group.reduce_scatter(input, output_.elements(elements / ranks_), ReduceOp::sum));
        return;
      default: static_cast<void>(group.all_to_all(input, output_.elements(elements))); return;
    }
  }

 private:
  std::uint32_t ranks_;
  std::optional<Session> session_;
  Buffer input_;
  Buffer output_;
};

class GpuRank {
 public:
  GpuRank(World& world, const GpuTuneEffort& effort, Shared& shared,
          const std::function<void(const std::string&)>& progress)
      : world_(world),
        effort_(effort),
        shared_(shared),
        progress_(progress),
        place_(bench::make_place(Memory::cuda, world.rank())),
        meeting_(world, {.bytes_max = kElementBytes}, PathTable()) {}

  GpuTimes measure() {
    GpuTimes result;
    result.grids = measure_grids();
    std::vector<GridRow> grids;
    for (const FamilyTimes& family : result.grids) {
      grids.push_back({family.family, world_.size(), family.fit.steps});
    }
    result.paths = measure_ops(grids);
    meeting_.close();
    return result;
  }

 private:
  /// By all_reduce and all_gather, which stand for their families; sentinels in the data, as flags
  /// serve only what is small.
  std::vector<FamilyTimes> measure_grids() {
    std::vector<std::unique_ptr<Candidate>> all;
    for (const std::uint32_t threads : kGridThreads) {
      std::vector<GridRow> grids;
      for (std::size_t i = 0; i < kGridFamilyCount; ++i) {
        grids.push_back({static_cast<GridFamily>(i), world_.size(), {{threads}}});
      }
      all.push_back(std::make_unique<Candidate>(
          world_, effort_, PathTable::pinned(Path::gpu_lamport, std::move(grids))));
    }
    std::vector<FamilyTimes> result;
    for (const Op op : {Op::all_gather, Op::all_reduce}) {
      tell("grids of " + std::string(to_string(op)));
      FamilyTimes& family = result.emplace_back(FamilyTimes{grid_family(op), {}, {}});
      for (const std::size_t bytes : sizes()) {
        GridTimes times{(bytes + cuda::kLineBytes - 1) / cuda::kLineBytes, {}};
        for (const auto& us : time(all, op, bytes / kElementBytes)) times.us.push_back(us.value());
        family.times.push_back(std::move(times));
      }
      family.fit = fit_grid(kGridThreads, family.times);
    }
    for (const auto& candidate : all) candidate->close();
    return result;
  }

  std::vector<OpTimes> measure_ops(const std::vector<GridRow>& grids) {
    std::vector<Path> paths;
    std::vector<std::unique_ptr<Candidate>> all;
    for (std::size_t i = 0; i < kPathCount; ++i) {
      const Path path = static_cast<Path>(i);
      // NCCL is not chosen by time: a plan asks for it.
      if (memory_of(path) != Memory::cuda || cuda::is_on_nccl(path)) continue;
      paths.push_back(path);
      all.push_back(std::make_unique<Candidate>(world_, effort_, PathTable::pinned(path, grids)));
    }
    std::vector<OpTimes> result;
    for (const Op op : kOps) {
      tell(std::string(to_string(op)));
      OpTimes& of_op = result.emplace_back(OpTimes{op, {}});
      for (const std::size_t bytes : sizes()) {
        const std::size_t elements = elements_of(op, bytes);
        if (elements == 0) continue;
        PathTimes times{elements * kElementBytes, {}};
        const auto us = time(all, op, elements);
        for (std::size_t i = 0; i < paths.size(); ++i) {
          times.us[static_cast<std::size_t>(paths[i])] = us[i];
        }
        of_op.times.push_back(times);
      }
    }
    for (const auto& candidate : all) candidate->close();
    return result;
  }

  std::vector<std::size_t> sizes() const {
    std::vector<std::size_t> result;
    for (std::size_t bytes = effort_.bytes_min; bytes <= effort_.bytes_max; bytes *= 2) {
      result.push_back(bytes);
    }
    return result;
  }

  /// Of this rank's input; 0 for a size that cannot be cut into the group's parts.
  std::size_t elements_of(Op op, std::size_t bytes) const {
    const std::size_t elements = bytes / kElementBytes;
    const bool in_parts = op == Op::reduce_scatter || op == Op::all_to_all;
    return in_parts ? elements / world_.size() * world_.size() : elements;
  }

  /// us of a call, by candidate; nothing for one that does not take it.
  std::vector<std::optional<double>> time(const std::vector<std::unique_ptr<Candidate>>& all, Op op,
                                          std::size_t elements) {
    struct Turn {
      std::unique_ptr<LayerPlace::Recorded> graph;
      std::uint32_t replays = 0;
      std::vector<double> rounds;
    };
    std::vector<Turn> turns(all.size());
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (!all[i]->takes(op, elements * kElementBytes)) continue;
      turns[i].graph = place_->record([&] {
        for (std::uint32_t call = 0; call < effort_.graph_calls; ++call) {
          all[i]->run(op, elements, *place_->stream());
        }
      });
      static_cast<void>(replay(*turns[i].graph, 1));  // what is cold is not counted
      const double us = replay(*turns[i].graph, 2) * effort_.graph_calls;
      turns[i].replays = static_cast<std::uint32_t>(
          std::clamp(effort_.round_us / std::max(us, 0.01), 1.0, double{kReplaysMax}));
    }
    for (std::uint32_t round = 0; round < effort_.rounds; ++round) {
      for (std::size_t turn = 0; turn < turns.size(); ++turn) {
        Turn& next = turns[(turn + round) % turns.size()];
        if (next.graph) next.rounds.push_back(replay(*next.graph, next.replays));
      }
    }
    std::vector<std::optional<double>> result(all.size());
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (turns[i].graph) result[i] = median(std::move(turns[i].rounds));
    }
    return result;
  }

  /// us of a call on the slowest rank, alike on all.
  double replay(LayerPlace::Recorded& graph, std::uint32_t replays) {
    meet();
    const Stopwatch watch;
    for (std::uint32_t i = 0; i < replays; ++i) graph.run();
    place_->wait(meeting_.session());
    return slowest(watch.seconds() * 1e6 / replays / effort_.graph_calls);
  }

  double slowest(double value) {
    std::vector<double>& values = shared_.values[turn_++ % shared_.values.size()];
    {
      const std::lock_guard lock(shared_.mutex);
      values.resize(world_.size());
      values[world_.rank().index()] = value;
    }
    meet();
    const std::lock_guard lock(shared_.mutex);
    return *std::max_element(values.begin(), values.end());
  }

  void meet() {
    static_cast<void>(meeting_.session().group(GroupKind::tp).on(*place_->stream()).barrier());
    place_->wait(meeting_.session());
  }

  void tell(const std::string& what) {
    if (world_.rank() == WorldRank{0}) progress_(what);
  }

  World& world_;
  const GpuTuneEffort& effort_;
  Shared& shared_;
  const std::function<void(const std::string&)>& progress_;
  std::unique_ptr<LayerPlace> place_;
  Candidate meeting_;
  std::size_t turn_ = 0;
};

}  // namespace

std::span<const std::uint32_t> grid_threads() noexcept {
  return kGridThreads;
}

GpuTimes measure_gpus(std::uint32_t ranks, const GpuTuneEffort& effort,
                      const std::function<void(const std::string&)>& progress) {
  GpuTimes result;
  Shared shared;
  WaitLimits limits;
  limits.scale = deadline_scale_from_environment();
  run_ranks_as_threads(ranks, [&](std::unique_ptr<Bootstrap> bootstrap) {
    World world = World::join(std::move(bootstrap), limits);
    try {
      GpuRank rank(world, effort, shared, progress);
      GpuTimes times = rank.measure();
      if (world.rank() == WorldRank{0}) result = std::move(times);
    } catch (const Error& error) {
      world.fail(error);
      throw;
    }
  });
  return result;
}

}  // namespace cohort
