#include "matrix/rank_script.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <numeric>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <cohort/cohort.hpp>

#include "base/clock.hpp"
#include "matrix/fault_hooks.hpp"

namespace cohort::matrix {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t kLarge = 32 * 1024;
constexpr std::size_t kSmall = 16;
constexpr std::size_t kMiddle = 2048;
constexpr int kTurns = 2;

struct Slots {
  SlotId large;
  SlotId gathered;
  SlotId message;
  SlotId received;
};

Plan make_plan(std::uint32_t ranks, Slots& slots, std::size_t middle = kMiddle) {
  Plan plan(Layout{{.tp = ranks}});
  SlotSpec spec{.groups = {GroupKind::tp},
                .dtype = DType::f32,
                .rows_max = kLarge,
                .row_elements = 1,
                .depth = 2};
  slots.large = plan.slot("large", spec);
  spec.rows_max = middle * ranks;
  slots.gathered = plan.slot("gathered", spec);
  spec.rows_max = kMiddle;
  spec.depth = 4;
  slots.message = plan.slot("message", spec);
  slots.received = plan.slot("received", spec);
  plan.send_recv(GroupKind::tp);
  return plan;
}

class WrongResult : public std::runtime_error {
 public:
  explicit WrongResult(const std::string& what) : std::runtime_error("wrong result of " + what) {}
};

void fill(const Tensor& tensor, float value) {
  std::fill_n(static_cast<float*>(tensor.data), tensor.elements, value);
}

void require(const Tensor& tensor, float value, const char* what) {
  const auto* const data = static_cast<const float*>(tensor.data);
  if (!std::all_of(data, data + tensor.elements, [&](float each) { return each == value; })) {
    throw WrongResult(what);
  }
}

/// Every kind of path, with results that are known.
class Calls {
 public:
  Calls(Session& session, const Slots& slots)
      : session_(session),
        slots_(slots),
        group_(session.group(GroupKind::tp)),
        rank_(group_.rank().index()),
        size_(group_.size()) {}

  void turn(int number) {
    base_ = static_cast<float>(number * 10);
    reduce(session_.take(slots_.large).elements(kLarge), "all_reduce in place");
    std::vector<float> outside(kMiddle);
    reduce({outside.data(), outside.size(), DType::f32}, "all_reduce from outside the heap");
    outside.resize(kSmall);
    reduce({outside.data(), outside.size(), DType::f32}, "a small all_reduce");
    gather();
    const Tensor all = session_.take(slots_.message).elements(kMiddle);
    const std::uint32_t root = static_cast<std::uint32_t>(number) % size_;
    fill(all, rank_ == root ? base_ + 7 : -1);
    static_cast<void>(group_.broadcast(all, GroupRank{root}));
    require(all, base_ + 7, "broadcast");
    if (size_ > 1) pass_around();
  }

 private:
  float value(std::uint32_t rank) const { return base_ + static_cast<float>(rank + 1); }

  void reduce(const Tensor& operand, const char* what) {
    float sum = 0;
    for (std::uint32_t rank = 0; rank < size_; ++rank) sum += value(rank);
    fill(operand, value(rank_));
    static_cast<void>(group_.all_reduce(operand, ReduceOp::sum));
    require(operand, sum, what);
  }

  void gather() {
    const Tensor output = session_.take(slots_.gathered).elements(kMiddle * size_);
    const Tensor mine = session_.take(slots_.message).elements(kMiddle);
    fill(mine, value(rank_));
    static_cast<void>(group_.all_gather(mine, output));
    auto* const data = static_cast<float*>(output.data);
    for (std::uint32_t rank = 0; rank < size_; ++rank) {
      require({data + rank * kMiddle, kMiddle, DType::f32}, value(rank), "all_gather");
    }
  }

  void pass_around() {
    const GroupRank next{(rank_ + 1) % size_};
    const GroupRank previous{(rank_ + size_ - 1) % size_};
    const Tensor message = session_.take(slots_.message).elements(kMiddle);
    std::vector<float> outside(kMiddle, value(rank_) + 1000);
    fill(message, value(rank_));
    static_cast<void>(group_.send(message, next));
    static_cast<void>(group_.send({outside.data(), outside.size(), DType::f32}, next));
    for (const float offset : {0.0F, 1000.0F}) {
      const Tensor received = session_.take(slots_.received).elements(kMiddle);
      static_cast<void>(group_.recv(received, previous));
      require(received, value(previous.index()) + offset, "recv");
    }
  }

  Session& session_;
  const Slots& slots_;
  Group group_;
  std::uint32_t rank_;
  std::uint32_t size_;
  float base_ = 0;
};

void run_world(std::unique_ptr<Bootstrap> bootstrap, const WaitLimits& limits, const Plan& plan,
               const Slots& slots, const std::function<void(Phase)>& enter) {
  enter(Phase::join);
  World world = World::join(std::move(bootstrap), limits);
  enter(Phase::commit);
  Session session = commit(world, plan);
  enter(Phase::steady);
  Calls calls(session, slots);
  for (int turn = 0; turn < kTurns; ++turn) calls.turn(turn);
  if (session.registrations_since_commit() != 0) throw std::runtime_error("a late registration");
  enter(Phase::close);
  session.close();
}

// --- what a process holds
// -------------------------------------------------------------------------

struct Holdings {
  std::multiset<std::string> descriptors;
  std::size_t threads = 0;
  std::size_t shared_mappings = 0;
};

Holdings look() {
  Holdings holdings;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::string target = std::filesystem::read_symlink(entry.path(), ignored);
    if (target.find("/proc/") == 0) continue;  // the look itself
    holdings.descriptors.insert(target.substr(0, target.find(':')));
  }
  for ([[maybe_unused]] const auto& entry :
       std::filesystem::directory_iterator("/proc/self/task")) {
    ++holdings.threads;
  }
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    if (line.find("memfd:cohort") != std::string::npos) ++holdings.shared_mappings;
  }
  return holdings;
}

std::string what_is_left(const Holdings& before) {
  const Holdings after = look();
  std::string left;
  for (const std::string& target : after.descriptors) {
    if (after.descriptors.count(target) > before.descriptors.count(target)) {
      left += "descriptor " + target + "; ";
    }
  }
  if (after.threads > before.threads) left += "a thread; ";
  if (after.shared_mappings != 0) {
    left += std::to_string(after.shared_mappings) + " mappings of shared memory; ";
  }
  return left;
}

/// Runs one world and writes how it ended.
void record(WorldEnd& end, const Holdings& before, const std::function<void()>& world) {
  std::uint32_t state = WorldEnd::well;
  try {
    world();
  } catch (const Error& error) {
    state = WorldEnd::error;
    end.code = error.code();
    if (error.rank()) end.about = error.rank()->index();
    copy_text(end.phase, error.phase());
    copy_text(end.text, error.what());
  } catch (const std::exception& exception) {
    state = WorldEnd::other_exception;
    copy_text(end.text, exception.what());
  }
  end.at_ns = now_ns();
  copy_text(end.left_behind, what_is_left(before));
  end.state.store(state);
}

std::vector<std::uint32_t> members_of(const FaultCase& fault_case, bool all) {
  std::vector<std::uint32_t> members;
  for (std::uint32_t rank = 0; rank < fault_case.rank_count; ++rank) {
    if (all || fault_case.victim_survives() || rank != fault_case.victim) members.push_back(rank);
  }
  return members;
}

}  // namespace

WaitLimits short_limits() {
  WaitLimits limits;
  limits.setup = milliseconds(2000);
  limits.steady = milliseconds(1500);
  limits.stall = milliseconds(200);
  limits.scale = deadline_scale_from_environment();
  return limits;
}

void play(const FaultCase& fault_case, std::uint32_t rank, Board& board) {
  // A sanitizer starts a thread of its own with a process's first, and keeps it.
  std::thread([] {}).join();
  const Holdings before = look();
  RankCell& cell = board.ranks[rank];
  Slots slots;
  const Plan honest = make_plan(fault_case.rank_count, slots);
  const bool victim = rank == fault_case.victim;
  const bool lies = fault_case.fault == Fault::plan || fault_case.fault == Fault::digest;
  const Plan plan = victim && lies ? make_plan(fault_case.rank_count, slots, 2 * kMiddle) : honest;
  record(cell.worlds[0], before, [&] {
    std::optional<FaultHooks> hooks;
    if (victim) {
      hooks.emplace(fault_case, board, honest);
      test_hooks() = &*hooks;
      test_messages() = &*hooks;
    }
    const auto clear = [](void*) {
      test_hooks() = nullptr;
      test_messages() = nullptr;
    };
    const std::unique_ptr<void, decltype(clear)> unhook(&board, clear);
    run_world(meet_over(board, 0, members_of(fault_case, true), rank), short_limits(), plan, slots,
              [&](Phase phase) {
                if (hooks) hooks->enter(phase);
              });
  });
  if (victim && !fault_case.victim_survives()) return;
  std::vector<std::uint32_t> members = members_of(fault_case, false);
  WaitLimits patient;
  patient.scale = deadline_scale_from_environment();
  const Plan next = make_plan(static_cast<std::uint32_t>(members.size()), slots);
  record(cell.worlds[1], before, [&] {
    run_world(meet_over(board, 1, members, rank), patient, next, slots, [](Phase) {});
  });
}

}  // namespace cohort::matrix
