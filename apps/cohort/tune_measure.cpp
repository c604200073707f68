#include "tune_measure.hpp"

#include <algorithm>
#include <array>
#include <memory>
#include <utility>

#include <cohort/bootstrap.hpp>
#include <cohort/session.hpp>
#include <cohort/world.hpp>

#include "base/clock.hpp"

namespace cohort {

namespace {

constexpr std::array kOps = {Op::all_reduce, Op::all_gather, Op::reduce_scatter, Op::all_to_all,
                             Op::broadcast};
// Not host_staged: it copies what can be read where it lies, and strict mode refuses that.
constexpr std::array kPaths = {Path::host_inline, Path::host_direct};
constexpr std::size_t kElementBytes = sizeof(float);
constexpr std::uint32_t kCallsMax = 256;

/// One rank: a session for each path, each with that path pinned.
class Rank {
 public:
  Rank(World& world, const TuneArrangement& arrangement, const TuneEffort& effort)
      : effort_(effort), group_ranks_(arrangement.group_ranks) {
    const Layout layout{{.tp = arrangement.world_ranks,
                         .attn_dp = arrangement.world_ranks / arrangement.group_ranks}};
    const std::size_t elements = effort.bytes_max / kElementBytes;
    for (const Path path : kPaths) {
      Plan plan(layout, {.path_table = PathTable::pinned(path)});
      const SlotSpec spec{.groups = {GroupKind::attn_tp, GroupKind::world},
                          .rows_max = elements,
                          .row_elements = 1,
                          .depth = 2};
      input_ = plan.slot("input", spec);
      SlotSpec gathered = spec;
      gathered.rows_max = elements * group_ranks_;
      output_ = plan.slot("output", gathered);
      sessions_.push_back(commit(world, plan));
    }
  }

  OpTimes measure(Op op) {
    OpTimes result{op, {}};
    for (std::size_t bytes = 8; bytes <= effort_.bytes_max; bytes *= 2) {
      const std::size_t elements = elements_of(op, bytes);
      if (elements == 0) continue;
      result.times.push_back(measure_size(op, elements));
    }
    return result;
  }

  void close() {
    for (Session& session : sessions_) session.close();
  }

 private:
  /// Of this rank's input; 0 for a size that cannot be cut into the group's parts.
  std::size_t elements_of(Op op, std::size_t bytes) const {
    const std::size_t elements = bytes / kElementBytes;
    const bool in_parts = op == Op::reduce_scatter || op == Op::all_to_all;
    return in_parts ? elements / group_ranks_ * group_ranks_ : elements;
  }

  PathTimes measure_size(Op op, std::size_t elements) {
    PathTimes result{elements * kElementBytes, {}};
    std::array<std::vector<double>, kPaths.size()> rounds;
    std::array<std::uint32_t, kPaths.size()> calls{};
    for (std::size_t path = 0; path < kPaths.size(); ++path) {
      if (takes(path, op, result.bytes)) calls[path] = calls_for(path, op, elements);
    }
    for (std::uint32_t round = 0; round < effort_.rounds; ++round) {
      for (std::size_t turn = 0; turn < kPaths.size(); ++turn) {
        const std::size_t path = (turn + round) % kPaths.size();
        if (calls[path] != 0) rounds[path].push_back(batch(path, op, elements, calls[path]));
      }
    }
    for (std::size_t path = 0; path < kPaths.size(); ++path) {
      if (calls[path] == 0) continue;
      result.us[static_cast<std::size_t>(kPaths[path])] =
          slowest(static_cast<float>(median(std::move(rounds[path])) * 1e6));
    }
    return result;
  }

  bool takes(std::size_t path, Op op, std::size_t bytes) const {
    return sessions_[path].explain(GroupKind::attn_tp, op, DType::f32, bytes).reason == Reason::ok;
  }

  /// So many that a batch takes long against the clock, equal on all ranks.
  std::uint32_t calls_for(std::size_t path, Op op, std::size_t elements) {
    static_cast<void>(batch(path, op, elements, 2));
    const double us = batch(path, op, elements, 4) * 1e6;
    const double calls = effort_.batch_us / std::max(us, 0.01);
    return static_cast<std::uint32_t>(
        slowest(static_cast<float>(std::clamp(calls, 3.0, double{kCallsMax}))));
  }

  /// Seconds a call on this rank.
  double batch(std::size_t path, Op op, std::size_t elements, std::uint32_t calls) {
    Session& session = sessions_[path];
    const Group group = session.group(GroupKind::attn_tp);
    static_cast<void>(session.group(GroupKind::world).barrier());
    const Stopwatch watch;
    for (std::uint32_t call = 0; call < calls; ++call) run(session, group, op, elements);
    return watch.seconds() / calls;
  }

  void run(Session& session, const Group& group, Op op, std::size_t elements) const {
    const Tensor input = session.take(input_).elements(elements);
    switch (op) {
      case Op::all_reduce: static_cast<void>(group.all_reduce(input, ReduceOp::sum)); return;
      case Op::broadcast: static_cast<void>(group.broadcast(input, GroupRank{0})); return;
      case Op::all_gather: {
        const Tensor output = session.take(output_).elements(elements * group_ranks_);
        static_cast<void>(group.all_gather(input, output));
        return;
      }
      case Op::reduce_scatter: {
        const Tensor output = session.take(output_).elements(elements / group_ranks_);
        static_cast<void>(group.reduce_scatter(input, output, ReduceOp::sum));
        return;
      }
      default: {
        const Tensor output = session.take(output_).elements(elements);
        static_cast<void>(group.all_to_all(input, output));
        return;
      }
    }
  }

  float slowest(float value) {
    static_cast<void>(sessions_.front()
                          .group(GroupKind::world)
                          .all_reduce(Tensor{&value, 1, DType::f32}, ReduceOp::max));
    return value;
  }

  TuneEffort effort_;
  std::uint32_t group_ranks_;
  std::vector<Session> sessions_;  // by kPaths
  SlotId input_;
  SlotId output_;
};

}  // namespace

std::size_t tuned_op_count() noexcept {
  return std::size(kOps);
}

std::vector<OpTimes> measure_paths(const TuneArrangement& arrangement, const TuneEffort& effort,
                                   const std::function<void(Op)>& progress) {
  std::vector<OpTimes> result;
  WaitLimits limits;
  limits.scale = deadline_scale_from_environment();
  run_ranks_as_threads(arrangement.world_ranks, [&](std::unique_ptr<Bootstrap> bootstrap) {
    World world = World::join(std::move(bootstrap), limits);
    const bool is_first = world.rank() == WorldRank{0};
    try {
      Rank rank(world, arrangement, effort);
      for (const Op op : kOps) {
        if (is_first) progress(op);
        OpTimes times = rank.measure(op);
        if (is_first) result.push_back(std::move(times));
      }
      rank.close();
    } catch (const Error& error) {
      world.fail(error);
      throw;
    }
  });
  return result;
}

}  // namespace cohort
