// Makes as many calls and scope steps as asked for, of changing groups, lanes, operations and
// sizes, every result checked, and holds what each rank's process has before against what it has
// after.
//   cohort run -n 2 -- steady_steps [--calls N]
// Ends with 1 if memory outside the arena has grown by more than 1 MiB, or the number of open
// descriptors has changed, or anything was registered since commit.

#include <dirent.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <cohort/cohort.hpp>

#include "base/clock.hpp"

namespace cohort {
namespace {

constexpr std::size_t kElementsMax = 9'000;
constexpr std::uint32_t kLanes = 2;
constexpr std::size_t kGrowthMaxBytes = 1 << 20;

/// What this process holds.
struct Held {
  std::size_t bytes = 0;  ///< in memory, but for what it shares with its peers: the arenas
  std::size_t descriptors = 0;
  std::size_t mappings = 0;
};

Held held_now() {
  Held held;
  std::size_t size = 0;
  std::size_t resident = 0;
  std::size_t shared = 0;
  std::ifstream("/proc/self/statm") >> size >> resident >> shared;
  held.bytes = (resident - shared) * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  DIR* const directory = ::opendir("/proc/self/fd");
  while (::readdir(directory) != nullptr) ++held.descriptors;
  ::closedir(directory);
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) ++held.mappings;
  return held;
}

Plan plan_of(const Layout& layout) {
  Plan plan(layout, {.lanes = kLanes});
  const std::vector<GroupKind> kinds = {GroupKind::tp, GroupKind::attn_cp};
  static_cast<void>(plan.slot("rows", {.groups = kinds,
                                       .dtype = DType::i32,
                                       .rows_max = kElementsMax,
                                       .row_elements = 1,
                                       .depth = 2}));
  static_cast<void>(plan.pool("blocks", {.groups = {{GroupKind::tp}, {GroupKind::attn_cp}},
                                         .bytes = 512 << 10,
                                         .block_bytes_max = kElementsMax * sizeof(std::int32_t)}));
  for (const GroupKind kind : kinds) plan.send_recv(kind);
  return plan;
}

/// The same steps on every rank.
class Program {
 public:
  Program(Session& session, WorldRank rank) : session_(&session), rank_(rank) {}

  void run(std::uint64_t calls) {
    for (const std::uint64_t end = calls_ + calls; calls_ < end;) one_round();
  }
  std::uint64_t calls() const noexcept { return calls_; }
  std::uint64_t scope_steps() const noexcept { return scope_steps_; }

 private:
  void one_round() {
    const GroupKind kind = random_() % 2 == 0 ? GroupKind::tp : GroupKind::attn_cp;
    const Group group = session_->group(kind);
    const std::size_t limit = random_() % 16 == 0 ? kElementsMax : 700;
    const std::size_t part = random_() % (limit / group.size());
    const std::size_t elements = part * group.size();
    Scope scope = session_->scope(kind);
    const Buffer in = scope.allocate(DType::i32, elements + 1, 1);
    const Buffer out = scope.allocate(DType::i32, elements + 1, 1);
    scope_steps_ += 4;
    if (random_() % 4 == 0) {
      Scope inner = session_->scope(GroupKind::tp);
      inner.release(inner.allocate(DType::i32, random_() % 999, 3));
      static_cast<void>(inner.allocate(DType::i32, random_() % 99, 5));
      scope_steps_ += 5;
    }
    call(group, in, out, part);
    const Tensor rows = session_->take(SlotId{0}).elements(elements);
    std::fill_n(static_cast<std::int32_t*>(rows.data), elements, 1);
    static_cast<void>(group.all_reduce(rows, ReduceOp::sum, lane()));
    check(rows, elements, static_cast<std::int32_t>(group.size()));
    calls_ += 2;
  }

  void call(const Group& group, const Buffer& in, const Buffer& out, std::size_t part) {
    const std::size_t whole = part * group.size();
    std::fill_n(in.as<std::int32_t>(), whole, 3);
    const Lane on = lane();
    const std::uint32_t self = group.rank().index();
    switch (random_() % 7) {
      case 0: static_cast<void>(group.barrier(on)); return;
      case 1:
        static_cast<void>(group.all_gather(in.elements(part), out.elements(whole), on));
        check(out.elements(whole), whole, 3);
        return;
      case 2:
        static_cast<void>(
            group.reduce_scatter(in.elements(whole), out.elements(part), ReduceOp::sum, on));
        check(out.elements(part), part, 3 * static_cast<std::int32_t>(group.size()));
        return;
      case 3:
        static_cast<void>(group.all_to_all(in.elements(whole), out.elements(whole), on));
        check(out.elements(whole), whole, 3);
        return;
      case 4: {
        const GroupRank root{static_cast<std::uint32_t>(random_() % group.size())};
        static_cast<void>(group.broadcast(in.elements(whole), root, on));
        check(in.elements(whole), whole, 3);
        return;
      }
      case 5: {
        if (group.size() == 1) return;
        const std::uint32_t size = group.size();
        static_cast<void>(group.send(in.elements(part), GroupRank{(self + 1) % size}, on));
        static_cast<void>(group.recv(out.elements(part), GroupRank{(self + size - 1) % size}, on));
        check(out.elements(part), part, 3);
        ++calls_;
        return;
      }
      default: {
        std::vector<std::size_t> counts(group.size());
        for (std::size_t& count : counts) count = random_() % (part + 1);
        std::size_t sum = 0;
        for (const std::size_t count : counts) sum += count;
        static_cast<void>(
            group.all_gatherv(in.elements(counts[self]), out.elements(sum), counts, on));
        check(out.elements(sum), sum, 3);
        return;
      }
    }
  }

  Lane lane() { return Lane{static_cast<std::uint32_t>(random_() % kLanes)}; }

  void check(const Tensor& tensor, std::size_t elements, std::int32_t wanted) const {
    const auto* const data = static_cast<const std::int32_t*>(tensor.data);
    if (std::count(data, data + elements, wanted) == static_cast<std::ptrdiff_t>(elements)) return;
    throw std::runtime_error("rank " + std::to_string(rank_.index()) + ": wrong result in call " +
                             std::to_string(calls_));
  }

  Session* session_;
  WorldRank rank_;
  std::mt19937_64 random_{4711};
  std::uint64_t calls_ = 0;
  std::uint64_t scope_steps_ = 0;
};

std::uint64_t parse(int argc, char** argv) {
  if (argc == 1) return 1'000'000;
  if (argc != 3 || std::string_view(argv[1]) != "--calls") {
    throw std::invalid_argument("usage: cohort run -n 2 -- steady_steps [--calls N]");
  }
  return std::stoull(argv[2]);
}

bool run(std::uint64_t calls) {
  WaitLimits limits;
  limits.steady = std::chrono::seconds(60);
  limits.scale = deadline_scale_from_environment();
  World world = World::join(Bootstrap::from_environment(), limits);
  const std::uint32_t ranks = world.size();
  const Layout layout({.tp = ranks, .attn_cp = ranks % 2 == 0 ? 2U : 1U});
  Session session = commit(world, plan_of(layout));
  Program program(session, world.rank());
  // What grows to its size in the first calls: vectors, the heap of the C library.
  program.run(std::max<std::uint64_t>(calls / 10, 1'000));
  const Held before = held_now();
  program.run(calls);
  const Held after = held_now();
  session.verify();
  const std::uint64_t registered = session.registrations_since_commit();
  const auto growth = static_cast<std::ptrdiff_t>(after.bytes - before.bytes);
  std::printf(
      "rank %u: %llu calls, %llu scope steps: %.1f MiB outside the arena, %+.1f KiB since the "
      "first "
      "tenth; %zu descriptors, %zu before; %zu mappings, %zu before; %llu registrations\n",
      world.rank().index(), static_cast<unsigned long long>(program.calls()),
      static_cast<unsigned long long>(program.scope_steps()),
      static_cast<double>(after.bytes) / (1 << 20), static_cast<double>(growth) / 1024,
      after.descriptors, before.descriptors, after.mappings, before.mappings,
      static_cast<unsigned long long>(registered));
  session.close();
  return growth <= static_cast<std::ptrdiff_t>(kGrowthMaxBytes) &&
         after.descriptors == before.descriptors && registered == 0;
}

}  // namespace
}  // namespace cohort

int main(int argc, char** argv) {
  try {
    return cohort::run(cohort::parse(argc, argv)) ? 0 : 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "steady_steps: %s\n", error.what());
    return 1;
  }
}
