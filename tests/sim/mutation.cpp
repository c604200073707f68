#include "sim/mutation.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <random>
#include <tuple>
#include <utility>

namespace cohort::sim {
namespace {

constexpr std::size_t kSteps = 10;
// Operands travel with their headers up to so many bytes; beyond, peers read them where they lie.
// Stated anew: an oracle that asked the product would agree with any mistake.
constexpr std::size_t kInlineBytes = 256;
constexpr std::size_t kElementBytes = 4;

using Entry = std::pair<std::uint32_t, std::uint32_t>;  // slot, entry

/// A call on a group of several members, as its members compare it.
struct MeetingCall {
  std::pair<GroupKind, std::uint32_t> channel;  // kind and lane; the members tell instances apart
  std::span<const WorldRank> members;
  std::uint32_t self = 0;
  std::uint64_t number = 0;  // on this channel of this rank
  std::tuple<Op, ReduceOp, DType, std::uint32_t, std::size_t, std::vector<std::size_t>> agreed;
  bool read_where_it_lies = false;
  bool refused = false;
  std::optional<Entry> input;
  std::optional<Entry> result;
  std::size_t step = 0;
};

std::size_t agreed_elements(const Step& step, const Shape& shape, std::uint32_t size) {
  if (step.op == Op::all_gatherv) {
    return *std::max_element(shape.counts.begin(), shape.counts.end());
  }
  if (step.op != Op::all_to_allv) return shape.input;
  std::size_t largest = 0;
  for (std::uint32_t from = 0; from < size; ++from) {
    largest = std::max(largest, shape_of(step, size, from).input);
  }
  return largest;
}

/// The entries of each slot in the order of taking: one, or two in turn. Blocks, which end with
/// their step, follow each other from the start of the pool.
class Rings {
 public:
  std::optional<Entry> take(Home home) {
    if (home == Home::ordinary || home == Home::block) return std::nullopt;
    const bool deep = home == Home::deep;
    return Entry{deep ? 1U : 0U, deep ? deep_++ % 2 : 0U};
  }

 private:
  std::uint32_t deep_ = 0;
};

constexpr std::uint32_t kOfPool = 2;  // where others have the number of their slot

std::uint32_t units_of(std::size_t elements) {
  constexpr std::size_t kUnitBytes = 256;
  return static_cast<std::uint32_t>((elements * kElementBytes + kUnitBytes - 1) / kUnitBytes);
}

void take_operands(MeetingCall& call, const Step& step, const Shape& shape, Rings& rings) {
  const auto size = static_cast<std::uint32_t>(call.members.size());
  const bool in_block = step.input == Home::block;
  const Home other = step.input == Home::shallow ? Home::deep : Home::shallow;
  call.input = in_block ? Entry{kOfPool, 0} : rings.take(step.input);
  if (shape.in_place) {
    call.result = call.input;
  } else if (in_block && !step.ordinary_output) {
    call.result = Entry{kOfPool, units_of(block_elements(step, size))};
  } else {
    call.result = rings.take(step.ordinary_output ? Home::ordinary : other);
  }
}

void state_agreed(MeetingCall& call, const Step& step, const Shape& shape) {
  const auto size = static_cast<std::uint32_t>(call.members.size());
  const bool reduces =
      step.op == Op::all_reduce || step.op == Op::reduce_scatter || step.op == Op::reduce_scatterv;
  const std::size_t elements = agreed_elements(step, shape, size);
  call.agreed = {step.op,
                 reduces ? step.reduce_op : ReduceOp::sum,
                 step.op == Op::barrier ? DType::i32 : step.dtype,
                 step.op == Op::broadcast ? step.root % size : 0,
                 elements,
                 shape.counts};
  call.read_where_it_lies = elements * kElementBytes > kInlineBytes;
  const bool summed_in_entry =
      step.op == Op::all_reduce && call.read_where_it_lies && call.input.has_value();
  if (!summed_in_entry) call.result.reset();
  if (shape.input == 0) call.input.reset();
  call.refused = step.op != Op::barrier && step.refuses(call.self);
}

std::vector<MeetingCall> calls_of(const Layout& layout, WorldRank rank,
                                  std::span<const Step> program) {
  std::vector<MeetingCall> calls;
  std::map<std::pair<GroupKind, std::uint32_t>, std::uint64_t> numbers;
  Rings rings;
  for (const Step& step : program) {
    MeetingCall call;
    call.step = static_cast<std::size_t>(&step - program.data());
    call.members = layout.group_of(step.kind, rank);
    const auto size = static_cast<std::uint32_t>(call.members.size());
    const auto self = std::find(call.members.begin(), call.members.end(), rank);
    call.self = static_cast<std::uint32_t>(self - call.members.begin());
    const Shape shape = shape_of(step, size, call.self);
    if (step.op != Op::barrier) take_operands(call, step, shape, rings);
    if (size == 1) continue;
    call.channel = {step.kind, step.lane.index()};
    call.number = numbers[call.channel]++;
    state_agreed(call, step, shape);
    calls.push_back(std::move(call));
  }
  return calls;
}

bool contradict(const std::optional<Entry>& a, const std::optional<Entry>& b) {
  return a && b && *a != *b;
}

/// A refusal is no call that could differ.
bool differ(const MeetingCall& a, const MeetingCall& b) {
  if (a.refused || b.refused) return false;
  return a.agreed != b.agreed || contradict(a.input, b.input) || contradict(a.result, b.result);
}

/// A board on which each rank stands at one of its calls.
class Board {
 public:
  Board(const Layout& layout, std::span<const std::vector<Step>> programs)
      : programs_(programs.begin(), programs.end()), at_(programs.size()) {
    for (std::uint32_t rank = 0; rank < programs.size(); ++rank) {
      calls_.push_back(calls_of(layout, WorldRank{rank}, programs[rank]));
    }
  }

  Foretold play() {
    bool differs = false;
    for (bool moved = true; moved;) {
      moved = false;
      for (std::uint32_t rank = 0; rank < calls_.size(); ++rank) {
        const MeetingCall* const mine = call_of(rank);
        if (mine == nullptr) continue;
        const Seen seen = look_around(*mine);
        differs = differs || seen == Seen::difference;
        if (seen != Seen::all_alike) continue;
        // One who has nothing to contradict with may go on where others find a difference.
        note_met(rank, mine->members);
        const bool all_agree =
            std::all_of(mine->members.begin(), mine->members.end(), [this](WorldRank member) {
              return look_around(*call_of(member.index())) == Seen::all_alike;
            });
        differs = differs || !all_agree;
        if (!all_agree) continue;
        for (const WorldRank member : mine->members) note_met(member.index(), mine->members);
        for (const WorldRank member : mine->members) ++at_[member.index()];
        moved = true;
      }
    }
    Outcome outcome = Outcome::well;
    for (std::uint32_t rank = 0; rank < calls_.size(); ++rank) {
      if (call_of(rank) != nullptr) outcome = Outcome::timeout;
    }
    return {differs ? Outcome::mismatch : outcome, std::move(programs_), last_calls()};
  }

 private:
  enum class Seen : std::uint8_t { all_alike, difference, somebody_missing };

  const MeetingCall* call_of(std::uint32_t rank) const {
    return at_[rank] < calls_[rank].size() ? &calls_[rank][at_[rank]] : nullptr;
  }

  /// A member looks at the others one after the other, beginning behind itself, and waits for each.
  /// Who reads a broadcast's operand where it lies looks at its root first.
  Seen look_around(const MeetingCall& mine) const {
    const auto size = static_cast<std::uint32_t>(mine.members.size());
    std::vector<std::uint32_t> order;
    const bool is_broadcast = std::get<Op>(mine.agreed) == Op::broadcast;
    const std::uint32_t root = std::get<std::uint32_t>(mine.agreed);
    if (is_broadcast && mine.read_where_it_lies && root != mine.self) order.push_back(root);
    for (std::uint32_t step = 1; step < size; ++step) order.push_back((mine.self + step) % size);
    for (const std::uint32_t member : order) {
      const MeetingCall* const theirs = call_of(mine.members[member].index());
      const bool has_come =
          theirs != nullptr && theirs->channel == mine.channel && theirs->number == mine.number;
      if (!has_come) return Seen::somebody_missing;
      if (differ(mine, *theirs)) return Seen::difference;
    }
    return Seen::all_alike;
  }

  /// A rank that waits has published the call that it waits in.
  std::vector<LastCalls> last_calls() const {
    std::vector<LastCalls> last(calls_.size());
    for (std::uint32_t rank = 0; rank < calls_.size(); ++rank) {
      const std::size_t end = std::min(at_[rank] + 1, calls_[rank].size());
      for (std::size_t i = 0; i < end; ++i) {
        last[rank][calls_[rank][i].channel] = std::get<Op>(calls_[rank][i].agreed);
      }
    }
    return last;
  }

  Step& step_of(std::uint32_t rank) { return programs_[rank][call_of(rank)->step]; }

  /// All members have come to the call of `rank`.
  void note_met(std::uint32_t rank, std::span<const WorldRank> members) {
    std::vector<std::uint64_t> seeds;
    std::optional<std::uint32_t> refuser;
    for (const WorldRank member : members) {
      const bool refuses = call_of(member.index())->refused;
      if (refuses && !refuser) refuser = static_cast<std::uint32_t>(seeds.size());
      seeds.push_back(step_of(member.index()).seed);
    }
    step_of(rank).met_seeds = std::move(seeds);
    step_of(rank).met_refuser = refuser;
  }

  std::vector<std::vector<Step>> programs_;
  std::vector<std::vector<MeetingCall>> calls_;
  std::vector<std::size_t> at_;
};

/// Another of `count` values.
template <typename T>
T other(T value, std::uint32_t count, std::mt19937_64& random) {
  const auto shift = static_cast<std::uint32_t>(1 + random() % (count - 1));
  return static_cast<T>((static_cast<std::uint32_t>(value) + shift) % count);
}

void change(Step& step, MutationKind kind, std::mt19937_64& random) {
  switch (kind) {
    case MutationKind::resize: {
      const std::size_t part = random() % 2 == 0 ? step.part + 1 : random() % 1080;
      step.part = part == step.part ? part + 1 : part;
      break;
    }
    case MutationKind::group: {
      const auto kinds = program_kinds();
      const auto at = std::find(kinds.begin(), kinds.end(), step.kind) - kinds.begin();
      step.kind = kinds[other(static_cast<std::uint32_t>(at),
                              static_cast<std::uint32_t>(kinds.size()), random)];
      break;
    }
    case MutationKind::lane: step.lane = Lane{1 - step.lane.index()}; break;
    case MutationKind::slot: step.input = other(step.input, kHomes, random); break;
    case MutationKind::offset: step.offset = step.offset == 0 ? 1 + random() % 60 : 0; break;
    case MutationKind::dtype:
      step.dtype = step.dtype == DType::i32 ? DType::f32 : DType::i32;
      break;
    case MutationKind::reduce_op: step.reduce_op = other(step.reduce_op, 3, random); break;
    case MutationKind::root: step.root = other(step.root, 8, random); break;
    case MutationKind::skip:
    case MutationKind::add:
    case MutationKind::reorder: break;
  }
}

/// What is changed should mean something to the call, where the program has such a call.
bool suits(const Step& step, MutationKind kind) {
  if (kind == MutationKind::root) return step.op == Op::broadcast;
  if (kind == MutationKind::reduce_op) return step.op == Op::all_reduce;
  return step.op != Op::barrier;
}

}  // namespace

const char* to_string(MutationKind kind) noexcept {
  constexpr std::array<const char*, kMutationKinds> names = {
      "skip", "add",    "resize", "reorder",   "group", "lane",
      "slot", "offset", "dtype",  "reduce_op", "root"};
  return names[static_cast<std::size_t>(kind)];
}

const char* to_string(Outcome outcome) noexcept {
  constexpr std::array<const char*, 3> names = {"well", "mismatch", "timeout"};
  return names[static_cast<std::size_t>(outcome)];
}

Mutation random_mutation(std::uint32_t rank_count, std::uint64_t seed) {
  std::mt19937_64 random(seed ^ 0x5DEECE66DU);
  const auto kind = static_cast<MutationKind>(seed % kMutationKinds);
  const WorldRank rank{static_cast<std::uint32_t>(random() % rank_count)};
  const std::vector<Step> program =
      random_program(seed, kSteps, {.messages = false, .long_scopes = false, .recommits = false});
  Mutation mutation{kind, rank, random_layout(rank_count, seed), {}, {}};
  mutation.programs.assign(rank_count, program);
  std::vector<Step>& mutated = mutation.programs[rank.index()];

  std::size_t at = random() % (program.size() - 1);
  for (std::size_t i = 0; i + 1 < program.size() && !suits(program[at], kind); ++i) {
    at = (at + 1) % (program.size() - 1);
  }
  const auto place = mutated.begin() + static_cast<std::ptrdiff_t>(at);
  mutation.text = "rank " + std::to_string(rank.index()) + ", " + to_string(kind) + " at step " +
                  std::to_string(at) + ": " + describe(*place);
  if (kind == MutationKind::skip) {
    mutated.erase(place);
  } else if (kind == MutationKind::add) {
    Step again = *place;
    again.seed = random();
    mutated.insert(place, again);
  } else if (kind == MutationKind::reorder) {
    std::iter_swap(place, place + 1);
  } else {
    change(*place, kind, random);
    mutation.text += "; it becomes " + describe(*place);
  }
  return mutation;
}

Foretold foretell(const Layout& layout, std::span<const std::vector<Step>> programs) {
  return Board(layout, programs).play();
}

}  // namespace cohort::sim
