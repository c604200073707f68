#include "sim/program.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <numeric>
#include <random>

namespace cohort::sim {
namespace {

constexpr std::array kKinds = {GroupKind::tp, GroupKind::attn_tp, GroupKind::attn_cp};
constexpr std::array kOps = {
    Op::all_reduce,  Op::all_gather,      Op::all_gatherv, Op::reduce_scatter, Op::all_to_all,
    Op::all_to_allv, Op::reduce_scatterv, Op::broadcast,   Op::barrier,        Op::send};
constexpr std::uint32_t kPoison = 0x7FA5A5A5;
constexpr std::chrono::milliseconds kCloseLimit{1000};

std::uint64_t mix(std::uint64_t value) noexcept {
  value = (value ^ (value >> 30U)) * 0xBF58476D1CE4E5B9U;
  value = (value ^ (value >> 27U)) * 0x94D049BB133111EBU;
  return value ^ (value >> 31U);
}

/// Bits of element `index` of a rank's operand: a line that a compiler turns into vectors. As f32
/// small whole numbers, whose sums are exact.
std::uint32_t element(std::uint64_t start, std::size_t index, DType dtype) noexcept {
  const std::uint32_t bits =
      static_cast<std::uint32_t>(start) + static_cast<std::uint32_t>(index) * 0x9E3779B1U;
  if (dtype == DType::i32) return bits;
  return std::bit_cast<std::uint32_t>(static_cast<float>(static_cast<std::int32_t>(bits >> 18U)));
}

std::uint64_t start_of(std::uint64_t seed, WorldRank rank) noexcept {
  return mix(seed + rank.index() * 0x9E3779B97F4A7C15U);
}

void fill(std::uint32_t* data, std::uint64_t seed, WorldRank rank, std::size_t first,
          std::size_t count, DType dtype) noexcept {
  const std::uint64_t start = start_of(seed, rank);
  for (std::size_t i = 0; i < count; ++i) data[i] = element(start, first + i, dtype);
}

template <typename T>
T combine(T a, T b, ReduceOp op) noexcept {
  if (op == ReduceOp::min) return std::min(a, b);
  if (op == ReduceOp::max) return std::max(a, b);
  return a + b;
}

std::uint32_t combined(std::uint32_t a, std::uint32_t b, const Step& step) noexcept {
  if (step.dtype == DType::f32) {
    return std::bit_cast<std::uint32_t>(
        combine(std::bit_cast<float>(a), std::bit_cast<float>(b), step.reduce_op));
  }
  if (step.reduce_op == ReduceOp::sum) return a + b;
  return static_cast<std::uint32_t>(
      combine(static_cast<std::int32_t>(a), static_cast<std::int32_t>(b), step.reduce_op));
}

bool is_reduction(Op op) noexcept {
  return op == Op::all_reduce || op == Op::reduce_scatter || op == Op::reduce_scatterv;
}

std::size_t count_of(const Step& step, std::size_t index, std::size_t limit) noexcept {
  const std::uint64_t random = mix(step.seed ^ (index + 1) * 0x2545F4914F6CDD1DU);
  return random % 3 == 0 ? 0 : (random >> 8U) % (limit + 1);
}

std::size_t sum(std::span<const std::size_t> counts) {
  return std::accumulate(counts.begin(), counts.end(), std::size_t{0});
}

/// Sizes of all_to_allv: row `self` of the counts is sent, column `self` received.
void shape_exchange(Shape& shape, std::uint32_t size, std::uint32_t self) {
  const std::span counts(shape.counts);
  shape.input = sum(counts.subspan(std::size_t{self} * size, size));
  for (std::uint32_t from = 0; from < size; ++from) {
    shape.output += counts[std::size_t{from} * size + self];
  }
}

/// Where a result goes that is not in place: never into the entry that the input is in.
Home other_home(Home home) noexcept {
  if (home == Home::block) return Home::block;
  return home == Home::shallow ? Home::deep : Home::shallow;
}

constexpr std::size_t kBlockBytesMax = 36'000;

}  // namespace

std::span<const GroupKind> program_kinds() noexcept {
  return kKinds;
}

Layout random_layout(std::uint32_t rank_count, std::uint64_t seed) {
  std::vector<LayoutSizes> choices;
  for (std::uint32_t dp = 1; dp <= rank_count; ++dp) {
    for (std::uint32_t cp = 1; dp * cp <= rank_count; ++cp) {
      if (rank_count % (dp * cp) != 0) continue;
      const LayoutSizes sizes{.tp = rank_count, .attn_dp = dp, .attn_cp = cp};
      const std::uint32_t attn_tp = rank_count / dp / cp;
      // Twice as likely where both small groups have several ranks.
      choices.push_back(sizes);
      if (cp > 1 && attn_tp > 1) choices.insert(choices.end(), 3, sizes);
    }
  }
  return Layout(choices[mix(seed) % choices.size()]);
}

std::optional<std::uint32_t> Step::refuser(std::uint32_t size) const noexcept {
  if (!met_seeds.empty()) return met_refuser;
  const auto lowest = static_cast<std::uint32_t>(std::countr_zero(refusers));
  return op == Op::barrier || lowest >= size ? std::nullopt : std::optional(lowest);
}

std::size_t block_elements(const Step& step, std::uint32_t size) noexcept {
  const std::size_t needed = step.offset + step.part * std::max(size, 2U);
  return std::max({std::size_t{1}, needed, step.block_min});
}

Plan program_plan(const Layout& layout, std::uint32_t changes) {
  Plan plan(layout, {.lanes = kLanes});
  SlotSpec spec{.groups = {kKinds.begin(), kKinds.end()},
                .dtype = DType::f32,
                .rows_max = kElementsMax,
                .row_elements = 1,
                .depth = 1};
  static_cast<void>(plan.slot("shallow", spec));
  // First deeper, which leaves the channels where they are; then larger, which moves them all.
  spec.depth = changes == 0 ? 2 : 3;
  spec.rows_max += changes < 2 ? 0 : 100 * changes;
  static_cast<void>(plan.slot("deep", spec));
  static_cast<void>(plan.pool("blocks", {.groups = {kKinds.begin(), kKinds.end()},
                                         .bytes = kPoolBytes,
                                         .block_bytes_max = kBlockBytesMax}));
  for (const GroupKind kind : kKinds) plan.send_recv(kind);
  return plan;
}

std::vector<Step> random_program(std::uint64_t seed, std::size_t steps,
                                 const ProgramOptions& options) {
  std::mt19937_64 random(seed);
  std::vector<Step> program(steps);
  for (Step& step : program) {
    step.kind = kKinds[random() % kKinds.size()];
    step.lane = Lane{static_cast<std::uint32_t>(random() % kLanes)};
    step.op = kOps[random() % (kOps.size() - (options.messages ? 0 : 1))];
    step.dtype = random() % 4 == 0 ? DType::f32 : DType::i32;
    step.reduce_op = static_cast<ReduceOp>(random() % 4 % 3);
    step.root = static_cast<std::uint32_t>(random() % 8);
    // No rows at all, a few, or just more than travels inline.
    const std::uint64_t size = random() % 8;
    step.part = size == 0 ? 0 : size < 5 ? random() % 30 : 1025 + random() % 60;
    step.input = static_cast<Home>(random() % 7 / 2);
    step.in_place = random() % 2 == 0;
    step.ordinary_output = random() % 4 == 0;
    step.offset = random() % 2 * (random() % kOffsetMax);
    step.seed = random();
    if (random() % 6 == 0) step.refusers = static_cast<std::uint32_t>(random() % 0xFF + 1);
    if (options.long_scopes) {
      step.held = static_cast<std::uint32_t>(random() % 9);
      step.block_min = random() % 2 * (random() % kElementsMax);
    }
  }
  if (options.recommits && random() % 4 == 0) {
    program[random() % steps].change = Change::recommit;
    program[random() % steps].change = Change::failed_recommit;
    program[random() % steps].change = Change::recommit;
  }
  return program;
}

std::string describe(const Step& step) {
  constexpr std::array homes = {"shallow slot", "deep slot", "ordinary memory", "block"};
  if (step.change == Change::recommit) return "recommit";
  if (step.change == Change::failed_recommit) return "failed recommit";
  return std::string(to_string(step.op)) + " on " + std::string(to_string(step.kind)) + " lane " +
         std::to_string(step.lane.index()) + ", part " + std::to_string(step.part) + " of " +
         std::string(to_string(step.dtype)) + " in " + homes[static_cast<std::size_t>(step.input)] +
         (step.in_place ? ", in place" : "") +
         (step.refusers != 0 ? ", refused by members " + std::to_string(step.refusers) : "");
}

Shape shape_of(const Step& step, std::uint32_t size, std::uint32_t self) {
  Shape shape;
  shape.input = shape.output = step.part;
  if (step.op == Op::all_gatherv || step.op == Op::reduce_scatterv) {
    for (std::size_t m = 0; m < size; ++m) shape.counts.push_back(count_of(step, m, step.part));
  }
  const auto begin = [&] {
    return shape.counts.empty() ? step.part * self : sum(std::span(shape.counts).first(self));
  };
  const std::size_t own = shape.counts.empty() ? step.part : shape.counts[self];
  const std::size_t whole = shape.counts.empty() ? step.part * size : sum(shape.counts);
  switch (step.op) {
    case Op::all_reduce:
    case Op::broadcast:
      shape.input = shape.output = 2 * step.part;
      shape.in_place = step.in_place || step.op == Op::broadcast;
      break;
    case Op::all_gather:
    case Op::all_gatherv:
      shape.input = own;
      shape.output = whole;
      shape.in_place = step.in_place;
      shape.input_begin = step.in_place ? begin() : 0;
      break;
    case Op::reduce_scatter:
    case Op::reduce_scatterv:
      shape.input = whole;
      shape.output = own;
      shape.in_place = step.in_place;
      shape.output_begin = step.in_place ? begin() : 0;
      break;
    case Op::all_to_all: shape.input = shape.output = whole; break;
    case Op::all_to_allv:
      for (std::size_t i = 0; i < std::size_t{size} * size; ++i) {
        shape.counts.push_back(count_of(step, i, step.part));
      }
      shape.input = shape.output = 0;
      shape_exchange(shape, size, self);
      break;
    case Op::barrier: shape.input = shape.output = 0; break;
    case Op::send:
    case Op::recv: break;
  }
  return shape;
}

RankProgram::RankProgram(WorldRank rank)
    : rank_(rank), input_(kElementsMax), output_(kElementsMax), wanted_(kElementsMax) {}

RankProgram::RankProgram(SessionState& session, WorldRank rank) : RankProgram(rank) {
  group_ = [&session](GroupKind kind) { return session.group(kind); };
  take_ = [&session](SlotId slot) { return session.take(slot); };
  scope_ = [&session](GroupKind kind) { return session.scope(kind, Symmetry::on); };
  recommit_ = [&session](const Plan& next) { session.recommit(next, kCloseLimit); };
  plan_ = [&session]() -> const Plan& { return session.plan(); };
  pool_use_ = [&session] { return session.pool_use(PoolId{0}); };
  close_ = [&session] { session.close(kCloseLimit); };
}

RankProgram::RankProgram(Session& session, WorldRank rank) : RankProgram(rank) {
  group_ = [&session](GroupKind kind) { return session.group(kind); };
  take_ = [&session](SlotId slot) { return session.take(slot); };
  scope_ = [&session](GroupKind kind) { return session.scope(kind); };
  recommit_ = [&session](const Plan& next) { session.recommit(next); };
  plan_ = [&session]() -> const Plan& { return session.plan(); };
  pool_use_ = [&session] { return session.pool_use(PoolId{0}); };
  close_ = [&session] { session.close(); };
}

void RankProgram::run(std::span<const Step> steps) {
  for (step_ = 0; step_ < steps.size(); ++step_) one_step(steps[step_]);
  scopes_.clear();
  met_.over_budget = pool_use_().over_budget_blocks;
  close_();
}

Tensor RankProgram::operand(Home home, const Step& step, const Group& group,
                            std::vector<std::uint32_t>& ordinary) {
  if (home == Home::ordinary) return {ordinary.data() + step.offset, 0, step.dtype};
  if (home == Home::block) {
    const std::size_t elements = block_elements(step, group.size());
    const Buffer block = scopes_.back().scope.allocate(DType::f32, elements, 1);
    return {block.as<std::uint32_t>() + step.offset, 0, step.dtype};
  }
  const Buffer buffer = take_(SlotId{home == Home::shallow ? 0U : 1U});
  return {buffer.as<std::uint32_t>() + step.offset, 0, step.dtype};
}

void RankProgram::one_step(const Step& step) {
  const auto ended = [this](const HeldScope& held) { return held.last_step < step_; };
  scopes_.erase(std::remove_if(scopes_.begin(), scopes_.end(), ended), scopes_.end());
  if (step.change != Change::none) {
    change_plan(step, plan_().layout());
    return;
  }
  if (step.input == Home::block) scopes_.push_back({scope_(step.kind), step_ + step.held});
  const Group group = group_(step.kind);
  if (step.op == Op::send) {
    ring(step, group);
    return;
  }
  const auto refuser = step.refuser(group.size());
  try {
    one_call(step, group);
    if (refuser) note_wrong(step, "it was not refused");
  } catch (const Error& error) {
    if (!refuser || error.code() != ErrorCode::usage) throw;
    expect_refusal(step, group, error);
  }
}

void RankProgram::expect_refusal(const Step& step, const Group& group, const Error& error) {
  ++met_.refusals;
  if (group.size() == 1) return;  // nobody else to tell of
  const WorldRank by = group.to_world(GroupRank{*step.refuser(group.size())});
  if (error.rank() != by) note_wrong(step, std::string("refused by another: ") + error.what());
}

void RankProgram::change_plan(const Step& step, const Layout& layout) {
  const bool agreed = step.change == Change::recommit;
  const bool differs = !agreed && rank_.index() == step.root % layout.world_size();
  const Plan next = program_plan(layout, changes_ + (differs ? 2 : 1));
  try {
    recommit_(next);
    if (!agreed) note_wrong(step, "plans that differ were agreed");
    ++changes_;
    ++met_.recommits;
  } catch (const Error& error) {
    if (agreed || error.code() != ErrorCode::mismatch) throw;
    ++met_.failed_recommits;
  }
}

void RankProgram::one_call(const Step& step, const Group& group) {
  const std::uint32_t self = group.rank().index();
  const Shape shape = shape_of(step, group.size(), self);
  if (step.op == Op::barrier) {
    static_cast<void>(group.barrier(step.lane));
    return;
  }
  Tensor in = operand(step.input, step, group, input_);
  const Home output_home = step.ordinary_output ? Home::ordinary : other_home(step.input);
  Tensor out = shape.in_place ? in : operand(output_home, step, group, output_);
  in = {static_cast<std::uint32_t*>(in.data) + shape.input_begin, shape.input, step.dtype};
  out = {static_cast<std::uint32_t*>(out.data) + shape.output_begin, shape.output, step.dtype};
  // Before the input, which may lie within: whoever still reads the entry now reads poison.
  std::fill_n(static_cast<std::uint32_t*>(out.data), out.elements, kPoison);
  fill(static_cast<std::uint32_t*>(in.data), step.seed, rank_, 0, in.elements, step.dtype);
  if (step.refuses(self)) {
    // No size fits such an output; at times the input travels inline where the others' lie.
    out.elements = kElementsMax + 7;
    if (step.seed % 2 == 0) in.elements = 1;
  }
  call(step, group, shape, in, out);
  if (!step.refuser(group.size())) check(step, group, shape, out);
}

void RankProgram::call(const Step& step, const Group& group, const Shape& shape, Tensor in,
                       Tensor out) {
  const std::span<const std::size_t> counts(shape.counts);
  const bool refuses = step.refuses(group.rank().index());
  const GroupRank root{refuses ? group.size() : step.root % group.size()};
  switch (step.op) {
    case Op::all_reduce: std::ignore = group.all_reduce(in, out, step.reduce_op, step.lane); break;
    case Op::all_gather: std::ignore = group.all_gather(in, out, step.lane); break;
    case Op::all_gatherv: std::ignore = group.all_gatherv(in, out, counts, step.lane); break;
    case Op::reduce_scatter:
      std::ignore = group.reduce_scatter(in, out, step.reduce_op, step.lane);
      break;
    case Op::reduce_scatterv:
      std::ignore = group.reduce_scatterv(in, out, counts, step.reduce_op, step.lane);
      break;
    case Op::all_to_all: std::ignore = group.all_to_all(in, out, step.lane); break;
    case Op::all_to_allv: std::ignore = group.all_to_allv(in, out, counts, step.lane); break;
    case Op::broadcast: std::ignore = group.broadcast(refuses ? in : out, root, step.lane); break;
    default: break;
  }
}

/// Whether `message` is refused.
template <typename Message>
bool is_refused(const Message& message) {
  try {
    message();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::usage) throw;
    return true;
  }
  return false;
}

/// Members send around a ring, some of them twice before they receive. Of one that refuses to send,
/// the receiver must be told.
void RankProgram::ring(const Step& step, const Group& group) {
  const std::uint32_t size = group.size();
  if (size == 1) return;
  const std::uint32_t self = group.rank().index();
  const std::uint32_t distance = 1 + step.root % (size - 1);
  const std::uint32_t messages = 1 + static_cast<std::uint32_t>(step.seed % 2);
  Tensor in = operand(step.input, step, group, input_);
  // An entry of its own: writing to the one that is being sent would wait for its receiver.
  const Home output_home = step.ordinary_output ? Home::ordinary : other_home(step.input);
  Tensor out = operand(output_home, step, group, output_);
  in.elements = out.elements = step.part;
  fill(static_cast<std::uint32_t*>(in.data), step.seed, rank_, 0, step.part, step.dtype);
  const Tensor sent = step.refuses(self) ? Tensor{nullptr, 1, step.dtype} : in;
  for (std::uint32_t i = 0; i < messages; ++i) {
    const GroupRank to{(self + distance) % size};
    const bool refused = is_refused([&] { std::ignore = group.send(sent, to, step.lane); });
    if (refused != step.refuses(self)) note_wrong(step, "a refusal to send went wrong");
  }
  const GroupRank from{(self + size - distance) % size};
  for (std::uint32_t i = 0; i < messages; ++i) {
    std::fill_n(static_cast<std::uint32_t*>(out.data), step.part, kPoison);
    const bool refused = is_refused([&] { std::ignore = group.recv(out, from, step.lane); });
    if (refused != step.refuses(from.index())) note_wrong(step, "a refusal did not arrive");
    if (refused) continue;
    fill(wanted_.data(), step.seed, group.to_world(from), 0, step.part, step.dtype);
    compare(step, out);
  }
}

void RankProgram::check(const Step& step, const Group& group, const Shape& shape,
                        const Tensor& out) {
  const std::uint32_t self = group.rank().index();
  const std::uint32_t size = group.size();
  std::size_t position = 0;
  const auto append = [&](std::uint32_t member, std::size_t first, std::size_t count) {
    fill(wanted_.data() + position, step.seed_of(member), group.to_world(GroupRank{member}), first,
         count, step.dtype);
    position += count;
  };
  if (is_reduction(step.op)) {
    // Of all_reduce everything, else this member's part.
    const Shape whole = shape_of(step, size, 0);
    std::size_t first = 0;
    if (step.op == Op::reduce_scatter) first = step.part * self;
    if (step.op == Op::reduce_scatterv) first = sum(std::span(whole.counts).first(self));
    append(0, first, out.elements);
    for (std::uint32_t member = 1; member < size; ++member) {
      const std::uint64_t start = start_of(step.seed_of(member), group.to_world(GroupRank{member}));
      for (std::size_t i = 0; i < out.elements; ++i) {
        wanted_[i] = combined(wanted_[i], element(start, first + i, step.dtype), step);
      }
    }
  } else if (step.op == Op::broadcast) {
    append(step.root % size, 0, out.elements);
  } else {
    for (std::uint32_t from = 0; from < size; ++from) {
      if (step.op == Op::all_gather) append(from, 0, step.part);
      if (step.op == Op::all_gatherv) append(from, 0, shape.counts[from]);
      if (step.op == Op::all_to_all) append(from, step.part * self, step.part);
      if (step.op != Op::all_to_allv) continue;
      const auto row = std::span(shape.counts).subspan(std::size_t{from} * size, size);
      append(from, sum(row.first(self)), row[self]);
    }
  }
  compare(step, out);
}

void RankProgram::compare(const Step& step, const Tensor& out) {
  const auto* const actual = static_cast<const std::uint32_t*>(out.data);
  const auto differs = std::mismatch(actual, actual + out.elements, wanted_.begin());
  if (differs.first == actual + out.elements) return;
  note_wrong(step, "element " + std::to_string(differs.first - actual) + " of " +
                       std::to_string(out.elements) + " has bits " +
                       std::to_string(*differs.first) + ", wanted " +
                       std::to_string(*differs.second));
}

void RankProgram::note_wrong(const Step& step, const std::string& what) {
  if (wrong_++ != 0) return;
  first_wrong_ = "rank " + std::to_string(rank_.index()) + ", step " + std::to_string(step_) +
                 ": " + describe(step) + ": " + what;
}

}  // namespace cohort::sim
