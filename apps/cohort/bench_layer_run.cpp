#include "bench_layer_run.hpp"

#include <algorithm>
#include <atomic>
#include <bit>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <ostream>
#include <span>
#include <string>
#include <utility>

#include <cohort/bootstrap.hpp>
#include <cohort/error.hpp>
#include <cohort/session.hpp>

#include "bench_layer_place.hpp"
#include "bench_worker.hpp"
#include "collectives/rms_norm.hpp"
#include "progress.hpp"

namespace cohort::bench {

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kStepsMin = 3;
constexpr std::size_t kStepsMax = 100000;

double us_since(Clock::time_point begin) {
  return std::chrono::duration<double, std::micro>(Clock::now() - begin).count();
}

LayerSpec spec_of(const LayerOptions& options) {
  const std::size_t rows = *std::max_element(options.rows.begin(), options.rows.end());
  const std::size_t of_replica = (rows + options.sizes.attn_dp - 1) / options.sizes.attn_dp;
  return {.dtype = options.dtype,
          .hidden_elements = options.hidden,
          .kv_elements = 1,  // a decode step gathers no keys and values
          .attention_rows_max = of_replica,
          .replica_rows_max = of_replica,
          .batch_rows_max = rows,
          .last_rows_max = 1};
}

/// What one rank writes into element `column` of a row: small, so that sums are exact in bf16.
int value_of(std::size_t row, std::size_t column, std::uint32_t rank, int salt) {
  return static_cast<int>((row * 5 + column * 3 + rank + static_cast<std::uint32_t>(salt)) % 4);
}

void store(std::byte* to, DType dtype, int value) {
  const auto bits = std::bit_cast<std::uint32_t>(static_cast<float>(value));
  if (dtype == DType::f32) {
    std::copy_n(reinterpret_cast<const std::byte*>(&bits), sizeof(bits), to);
  } else {
    const auto upper = static_cast<std::uint16_t>(bits >> 16);
    std::copy_n(reinterpret_cast<const std::byte*>(&upper), sizeof(upper), to);
  }
}

/// Rows as the ranks of `from` write them, added up.
std::vector<std::byte> rows_of(RowRange range, std::size_t width, DType dtype,
                               std::span<const WorldRank> from, int salt) {
  std::vector<std::byte> bytes(range.count * width * bytes_of(dtype));
  for (std::size_t i = 0; i < range.count * width; ++i) {
    int sum = 0;
    for (const WorldRank rank : from) {
      sum += value_of(range.first + i / width, i % width, rank.index(), salt);
    }
    store(bytes.data() + i * bytes_of(dtype), dtype, sum);
  }
  return bytes;
}

/// What the ranks tell each other: they are threads.
struct Shared {
  std::mutex mutex;
  LayerMeasurement measurement;
  std::atomic<std::size_t> steps{0};        // of the next round, as the first rank has it
  std::vector<std::vector<double>> us;      // of the last round, by (row count, rank)
  std::vector<std::vector<float>> samples;  // of the slowest rank, by row count
  Progress* progress = nullptr;             // of the first rank
};

/// Memory for norms, no larger than what is planned for the group anyway.
struct NormSlots {
  NormSlots(Plan& plan, const LayerOptions& options)
      : residual(plan.slot("residual", rows_spec(options, spec_of(options).attention_rows_max))),
        normed(plan.slot("normed", rows_spec(options, spec_of(options).attention_rows_max))),
        weight(plan.slot("weight", rows_spec(options, 1))) {}

  static SlotSpec rows_spec(const LayerOptions& options, std::size_t rows) {
    return {.groups = {GroupKind::tp},
            .dtype = options.dtype,
            .rows_max = rows,
            .row_elements = options.hidden};
  }

  SlotId residual;
  SlotId normed;
  SlotId weight;
};

class LayerRank {
 public:
  LayerRank(World& world, const LayerOptions& options, Shared& shared)
      : options_(options),
        layout_(options.sizes),
        shared_(shared),
        rank_(world.rank()),
        place_(make_place(options.memory, world.rank())),
        plan_(layout_, {.path_table = options.paths, .memory = options.memory}),
        slots_(plan_layers(plan_, spec_of(options))),
        beat_(plan_.slot(
            "beat",
            {.groups = {GroupKind::world}, .dtype = DType::i32, .rows_max = 1, .row_elements = 1})),
        norms_(options.norm ? std::optional(NormSlots(plan_, options)) : std::nullopt),
        session_(commit(world, plan_)),
        layers_(session_, slots_, world.rank()) {
    if (const auto stream = place_->stream()) layers_.on(*stream);
    if (!norms_) return;
    residual_ = session_.take(norms_->residual);
    normed_ = session_.take(norms_->normed);
    weight_ = session_.take(norms_->weight);
    const std::vector<std::byte> ones = constant_rows(1, 1);
    place_->write(weight_.data(), ones.data(), ones.size());
  }

  void run() {
    for (std::size_t i = 0; i < options_.rows.size(); ++i) check(i);
    time(/*recorded=*/true);
    if (options_.memory == Memory::cuda) time(/*recorded=*/false);
    place_->wait(session_);
    session_.close();
  }

 private:
  bool is_first() const { return rank_ == WorldRank{0}; }

  void begin(std::size_t rows) {
    const BatchRows batch = even_batch(layout_, rows);
    const std::vector<std::size_t> none(options_.sizes.attn_dp, 0);
    layers_.begin_step(batch, BatchRows::by_replica(layout_, none));
    own_rows_ = batch.range(layout_, batch.attention(), rank_).count;
  }

  void run_normed_layer() {
    static_cast<void>(layers_.attention_output());
    layers_.complete_attention_output(norm_into(layers_.mlp_input()));
    static_cast<void>(layers_.gather_mlp_input());
    static_cast<void>(layers_.mlp_output());
    layers_.complete_mlp_output(norm_into(normed_.rows(0, own_rows_)));
  }

  RmsNorm norm_into(Tensor normed) const {
    return {residual_.rows(0, own_rows_), weight_.rows(0, 1), normed};
  }

  std::vector<std::byte> constant_rows(std::size_t rows, int value) const {
    std::vector<std::byte> bytes(rows * options_.hidden * bytes_of(options_.dtype));
    for (std::size_t at = 0; at < bytes.size(); at += bytes_of(options_.dtype)) {
      store(bytes.data() + at, options_.dtype, value);
    }
    return bytes;
  }

  void run_step() {
    for (std::uint32_t layer = 0; layer < options_.layers; ++layer) {
      if (norms_) {
        run_normed_layer();
        continue;
      }
      static_cast<void>(layers_.attention_output());
      static_cast<void>(layers_.complete_attention_output());
      static_cast<void>(layers_.mlp_input());
      static_cast<void>(layers_.gather_mlp_input());
      static_cast<void>(layers_.mlp_output());
      static_cast<void>(layers_.complete_mlp_output());
    }
  }

  void write(const Tensor& rows, const std::vector<std::byte>& bytes) {
    if (!bytes.empty()) place_->write(rows.data, bytes.data(), bytes.size());
  }

  void expect(const ConstTensor& rows, const std::vector<std::byte>& wanted, const char* what,
              std::size_t count) {
    place_->wait(session_);
    std::vector<std::byte> bytes(rows.elements * bytes_of(rows.dtype));
    if (!bytes.empty()) place_->read(bytes.data(), rows.data, bytes.size());
    if (bytes == wanted) return;
    throw Error(ErrorCode::mismatch,
                std::string(what) + " of " + std::to_string(count) +
                    " rows gave a wrong result; nothing was timed",
                rank_, "bench");
  }

  /// One layer with values, and its calls for the record.
  void check(std::size_t index) {
    const std::size_t count = options_.rows[index];
    const int salt = static_cast<int>(index);
    begin(count);
    const BatchRows batch = even_batch(layout_, count);
    const RowRange own = batch.range(layout_, batch.attention(), rank_);
    const RowRange all{0, count};
    const auto made_by = [&](RowRange range, std::span<const WorldRank> ranks, int boundary) {
      return rows_of(range, options_.hidden, options_.dtype, ranks, salt + boundary);
    };
    const std::span<const WorldRank> self(&rank_, 1);
    write(layers_.attention_output(), made_by(own, self, 0));
    const auto heads = layout_.group_of(GroupKind::attn_tp, rank_);
    expect(layers_.complete_attention_output(), made_by(own, heads, 0), "attention output", count);

    // The same from whoever holds a row: rows have no rank here.
    const std::vector<WorldRank> nobody{WorldRank{0}};
    write(layers_.mlp_input(), made_by(own, nobody, 1));
    expect(layers_.gather_mlp_input(), made_by(all, nobody, 1), "MLP input", count);

    write(layers_.mlp_output(), made_by(all, self, 2));
    const auto columns = layout_.group_of(GroupKind::tp, rank_);
    expect(layers_.complete_mlp_output(), made_by(own, columns, 2), "MLP output", count);
    if (norms_) check_norm(made_by(all, self, 3), made_by(own, columns, 3), count);
    if (is_first()) note_calls(batch);
  }

  /// Behind a residual of zeros.
  void check_norm(const std::vector<std::byte>& addend, std::vector<std::byte> sum,
                  std::size_t count) {
    std::vector<std::byte> wanted(sum.size());
    std::vector<std::byte> zeros = constant_rows(own_rows_, 0);
    std::vector<std::byte> ones = constant_rows(1, 1);
    write(residual_.rows(0, own_rows_), zeros);
    write(layers_.mlp_output(), addend);
    const RmsNorm norm = norm_into(normed_.rows(0, own_rows_));
    layers_.complete_mlp_output(norm);
    const auto tensor = [&](std::vector<std::byte>& bytes) {
      return Tensor{bytes.data(), bytes.size() / bytes_of(options_.dtype), options_.dtype};
    };
    collectives::norm_on_host({tensor(zeros), tensor(ones), tensor(wanted), norm.epsilon},
                              sum.data());
    expect(norm.residual, sum, "residual", count);
    expect(norm.normed, wanted, "norm", count);
  }

  void note_calls(const BatchRows& batch) {
    LayerRow row{.rows = batch.total(), .calls = {}, .step = {}, .launched = {}};
    const Placement attention = batch.attention();
    const Placement everywhere;
    const auto owing = [](Placement placement, GroupKind group) {
      placement.owes_sum = group;
      return placement;
    };
    for (const Move& move :
         {plan_move(layout_, owing(attention, GroupKind::attn_tp), attention, batch),
          plan_move(layout_, attention, everywhere, batch),
          plan_move(layout_, owing(everywhere, GroupKind::tp), attention, batch)}) {
      for (const RankStep& step : steps_on(layout_, move, batch, rank_)) {
        if (step.op) row.calls.push_back(describe(step));
      }
    }
    shared_.measurement.rows.push_back(std::move(row));
  }

  LayerCall describe(const RankStep& step) const {
    const std::size_t rows = std::max(step.input.count, step.output.count);
    const std::size_t bytes = rows * options_.hidden * bytes_of(options_.dtype);
    const PathChoice choice = session_.explain(*step.group, *step.op, options_.dtype, bytes);
    return {std::string(to_string(*step.group)), std::string(to_string(*step.op)), bytes,
            std::string(to_string(choice.path)), std::string(to_string(choice.reason))};
  }

  /// Ranks begin what follows together.
  void meet() {
    Group group = session_.group(GroupKind::world);
    if (const auto stream = place_->stream()) group = group.on(*stream);
    static_cast<void>(group.barrier());
    place_->wait(session_);
  }

  void time(bool recorded) {
    std::vector<std::unique_ptr<LayerPlace::Recorded>> steps;
    std::vector<std::size_t> counts;
    for (std::size_t i = 0; i < options_.rows.size(); ++i) {
      steps.push_back(recorded ? place_->record([this, i] { step_of(i); }) : nullptr);
      counts.push_back(count_for(i, steps[i].get()));
    }
    for (std::uint32_t round = 0; round < options_.rounds; ++round) {
      if (is_first()) shared_.progress->begin("round " + std::to_string(round + 1));
      for (std::size_t i = 0; i < steps.size(); ++i) {
        const double us = time_steps(i, steps[i].get(), counts[i]);
        report(i, us);
      }
      if (is_first()) shared_.progress->advance();
    }
    meet();
    if (is_first()) keep(recorded);
    meet();
  }

  void step_of(std::size_t index) {
    begin(options_.rows[index]);
    run_step();
  }

  /// Enough steps for a round, equal on all ranks.
  std::size_t count_for(std::size_t index, LayerPlace::Recorded* step) {
    time_steps(index, step, kStepsMin);  // what is cold is not counted
    const double us = time_steps(index, step, kStepsMin);
    if (is_first()) {
      const double wanted = options_.seconds * 1e6 / std::max(us, 0.01);
      shared_.steps = std::clamp(static_cast<std::size_t>(wanted), kStepsMin, kStepsMax);
    }
    meet();
    const std::size_t count = shared_.steps;
    meet();
    return count;
  }

  /// us of one step.
  double time_steps(std::size_t index, LayerPlace::Recorded* step, std::size_t count) {
    meet();
    const auto begin = Clock::now();
    for (std::size_t i = 0; i < count; ++i) {
      if (step != nullptr) {
        step->run();
      } else {
        step_of(index);
      }
    }
    place_->wait(session_);
    return us_since(begin) / static_cast<double>(count);
  }

  void report(std::size_t index, double us) {
    const std::lock_guard lock(shared_.mutex);
    std::vector<double>& of_ranks = shared_.us[index];
    of_ranks.push_back(us);
    if (of_ranks.size() < layout_.world_size()) return;
    shared_.samples[index].push_back(
        static_cast<float>(*std::max_element(of_ranks.begin(), of_ranks.end())));
    of_ranks.clear();
  }

  void keep(bool recorded) {
    const std::lock_guard lock(shared_.mutex);
    for (std::size_t i = 0; i < shared_.samples.size(); ++i) {
      LayerRow& row = shared_.measurement.rows[i];
      (recorded ? row.step : row.launched) = summarise(shared_.samples[i]);
      shared_.samples[i].clear();
    }
  }

  const LayerOptions& options_;
  Layout layout_;
  Shared& shared_;
  WorldRank rank_;
  std::unique_ptr<LayerPlace> place_;
  Plan plan_;
  LayerSlots slots_;
  SlotId beat_;  // so that all ranks have a group to meet in
  std::optional<NormSlots> norms_;
  Session session_;
  LayerCommunicator layers_;
  Buffer residual_;
  Buffer normed_;
  Buffer weight_;
  std::size_t own_rows_ = 0;  // of the step begun last
};

}  // namespace

BatchRows even_batch(const Layout& layout, std::size_t rows) {
  const std::size_t replicas = layout.sizes().attn_dp;
  std::vector<std::size_t> counts;
  for (std::size_t i = 0; i < replicas; ++i) {
    counts.push_back(rows / replicas + (i < rows % replicas ? 1 : 0));
  }
  return BatchRows::by_replica(layout, counts);
}

LayerMeasurement measure_layers(const LayerOptions& options, Progress& progress) {
  Shared shared;
  shared.measurement.options = options;
  shared.us.resize(options.rows.size());
  shared.samples.resize(options.rows.size());
  shared.progress = &progress;
  const Layout layout(options.sizes);
  run_ranks_as_threads(layout.world_size(), [&](std::unique_ptr<Bootstrap> bootstrap) {
    if (options.memory == Memory::host) bind_to_cpu(bootstrap->rank().index());
    World world = World::join(std::move(bootstrap));
    LayerRank(world, options, shared).run();
  });
  return std::move(shared.measurement);
}

}  // namespace cohort::bench
