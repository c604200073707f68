#pragma once

// Random SPMD programs of collectives as data, and how one rank runs them and checks every result.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <cohort/cohort.hpp>

#include "session/session_state.hpp"

namespace cohort::sim {

inline constexpr std::uint32_t kLanes = 2;
/// Elements of one entry of a slot: enough for a part of each of 8 ranks, past the limit of what
/// travels inline, and an offset.
inline constexpr std::size_t kElementsMax = 9000;
inline constexpr std::size_t kOffsetMax = 64;

/// The pool that serves all kinds; blocks of long scopes do not all fit.
inline constexpr std::size_t kPoolBytes = 72 << 10;

/// Where an operand lies: slot 0, of depth 1; slot 1, of depth 2 at first; neither; a scope's
/// block.
enum class Home : std::uint8_t { shallow, deep, ordinary, block };
inline constexpr std::uint32_t kHomes = 4;

/// What a step does instead of a call on a group.
enum class Change : std::uint8_t {
  none,
  recommit,         ///< to a plan in which slot 1 is deeper or larger
  failed_recommit,  ///< the same, but one rank brings another plan
};

/// One line of a program: what every member of every group of the kind calls.
struct Step {
  Change change = Change::none;
  GroupKind kind = GroupKind::tp;
  Lane lane;
  Op op = Op::barrier;  ///< send stands for a ring of messages
  DType dtype = DType::i32;
  ReduceOp reduce_op = ReduceOp::sum;
  std::uint32_t root = 0;  ///< modulo the group's size
  std::size_t part = 0;  ///< elements of one member, or half of what all_reduce and broadcast move
  Home input = Home::shallow;
  bool in_place = false;         ///< where the operation has such a form
  bool ordinary_output = false;  ///< else an entry of the slot that the input is not in
  std::size_t offset = 0;        ///< of the operands in their entries
  std::uint64_t seed = 0;        ///< of values and counts
  std::uint32_t refusers = 0;    ///< members, as bits, whose arguments contradict each other
  std::uint32_t held = 0;        ///< steps for which the scope of blocks outlives this one
  std::size_t block_min = 0;     ///< elements of a block at least
  /// By member, the seeds of the calls that this one meets, where programs differ.
  std::vector<std::uint64_t> met_seeds = {};
  std::optional<std::uint32_t> met_refuser = {};  ///< the lowest member that refuses that meeting

  /// The lowest member that refuses this call, for all.
  std::optional<std::uint32_t> refuser(std::uint32_t size) const noexcept;
  bool refuses(std::uint32_t member) const noexcept { return (refusers >> member & 1U) != 0; }
  std::uint64_t seed_of(std::uint32_t member) const noexcept {
    return met_seeds.empty() ? seed : met_seeds[member];
  }
};

/// 2 to 8 ranks in groups that overlap as often as their number allows.
Layout random_layout(std::uint32_t rank_count, std::uint64_t seed);
/// Two slots, a pool, and messages for the kinds that programs use, changed `changes` times.
Plan program_plan(const Layout& layout, std::uint32_t changes = 0);
std::span<const GroupKind> program_kinds() noexcept;

struct ProgramOptions {
  bool messages = true;
  bool long_scopes = true;  ///< blocks live on behind their step, and do not always fit
  bool recommits = true;
};
std::vector<Step> random_program(std::uint64_t seed, std::size_t steps,
                                 const ProgramOptions& options = {});
/// Elements of a block for a step's operand, the same on all members.
std::size_t block_elements(const Step& step, std::uint32_t size) noexcept;
std::string describe(const Step& step);

/// A step's sizes for a member of a group.
struct Shape {
  std::vector<std::size_t> counts;  ///< of v-forms
  std::size_t input = 0;            ///< elements
  std::size_t output = 0;
  std::size_t input_begin = 0;  ///< in the entry that holds both, of in-place forms
  std::size_t output_begin = 0;
  bool in_place = false;
};
Shape shape_of(const Step& step, std::uint32_t size, std::uint32_t self);

/// What a rank met with in its program.
struct Met {
  std::uint64_t refusals = 0;
  std::uint64_t recommits = 0;
  std::uint64_t failed_recommits = 0;
  std::uint64_t over_budget = 0;  ///< blocks
};

/// One rank at work.
class RankProgram {
 public:
  RankProgram(SessionState& session, WorldRank rank);
  RankProgram(Session& session, WorldRank rank);

  /// Runs all steps, then closes the session. Throws what the calls throw.
  void run(std::span<const Step> steps);
  /// How many results were wrong so far, and the first of them.
  std::size_t wrong() const noexcept { return wrong_; }
  const std::string& first_wrong() const noexcept { return first_wrong_; }
  const Met& met() const noexcept { return met_; }

 private:
  explicit RankProgram(WorldRank rank);
  struct HeldScope {
    Scope scope;
    std::size_t last_step;
  };

  void one_step(const Step& step);
  void one_call(const Step& step, const Group& group);
  void change_plan(const Step& step, const Layout& layout);
  void ring(const Step& step, const Group& group);
  Tensor operand(Home home, const Step& step, const Group& group,
                 std::vector<std::uint32_t>& ordinary);
  void expect_refusal(const Step& step, const Group& group, const Error& error);
  void note_wrong(const Step& step, const std::string& what);
  static void call(const Step& step, const Group& group, const Shape& shape, Tensor in, Tensor out);
  void check(const Step& step, const Group& group, const Shape& shape, const Tensor& out);
  void compare(const Step& step, const Tensor& out);

  std::function<Group(GroupKind)> group_;
  std::function<Buffer(SlotId)> take_;
  std::function<Scope(GroupKind)> scope_;
  std::function<void(const Plan&)> recommit_;
  std::function<const Plan&()> plan_;
  std::function<PoolUse()> pool_use_;
  std::function<void()> close_;
  std::vector<HeldScope> scopes_;
  Met met_;
  std::uint32_t changes_ = 0;
  WorldRank rank_;
  std::size_t step_ = 0;
  std::size_t wrong_ = 0;
  std::string first_wrong_;
  std::vector<std::uint32_t> input_;
  std::vector<std::uint32_t> output_;
  std::vector<std::uint32_t> wanted_;
};

}  // namespace cohort::sim
