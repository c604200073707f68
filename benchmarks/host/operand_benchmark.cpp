// What does it cost to tell whether an operand is right for a group: finding the slot or the block
// that its address lies in, the check of the group alone, and both in the public call?
//
// Bound: the check is two loads and a bit; finding a slot takes a load for each halving of their
// number, finding a block walks a tree. Addresses are drawn at random, so that branches are hard to
// foresee. Every row has the loop and the load of an address in it, which `loop` has alone.

#include <benchmark/benchmark.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include <cohort/cohort.hpp>

#include "heap/heap_view.hpp"
#include "heap/pools.hpp"

namespace {

using cohort::GroupKind;

constexpr std::size_t kOperandBytes = 64;
constexpr std::size_t kEntryBytes = 4096;
constexpr std::size_t kBlockBytes = 1024;
/// A power of two.
constexpr std::size_t kOperands = 1024;

const cohort::Layout kLayout({.tp = 1});

cohort::Plan plan_of(std::size_t slots, std::size_t blocks) {
  cohort::Plan plan(kLayout);
  for (std::size_t i = 0; i < slots; ++i) {
    plan.slot(std::to_string(i), {.groups = {i % 2 == 0 ? GroupKind::tp : GroupKind::world},
                                  .dtype = cohort::DType::u8,
                                  .rows_max = 1,
                                  .row_elements = kEntryBytes});
  }
  if (blocks != 0) {
    plan.pool("blocks", {.groups = {GroupKind::world},
                         .bytes = 2 * blocks * kBlockBytes,
                         .block_bytes_max = kBlockBytes});
  }
  return plan;
}

/// An operand somewhere in each of these pieces of memory, in no order.
std::vector<const std::byte*> operands_in(const std::vector<const std::byte*>& pieces,
                                          std::size_t piece_bytes) {
  std::mt19937 random(1);  // NOLINT(cert-msc51-cpp): the same addresses in every run
  std::vector<const std::byte*> operands(kOperands);
  for (const std::byte*& operand : operands) {
    operand = pieces[random() % pieces.size()] + random() % (piece_bytes - kOperandBytes);
  }
  return operands;
}

/// Times `ask` on one operand after the other, and fails the row if an answer is no.
template <typename T, typename Ask>
void time_each(benchmark::State& state, const std::vector<T>& operands, const Ask& ask) {
  std::size_t i = 0;
  bool is_right = true;
  for (auto _ : state) {
    const bool answer = ask(operands[i++ % kOperands]);
    benchmark::DoNotOptimize(answer);
    is_right &= answer;
  }
  if (!is_right) state.SkipWithError("an operand is not where it was put");
}

/// The parts, over memory that no other rank sees.
struct Parts {
  Parts(std::size_t slots, std::size_t blocks)
      : plan(plan_of(slots, blocks)),
        layout(cohort::heap::arena_layout(plan)),
        memory(layout.arena.bytes),
        view(plan, layout, 0, memory.data()),
        pools(plan, layout, memory.data(), layout.channels.size()) {
    for (std::uint32_t i = 0; i < slots; ++i) entries.push_back(view.address_of({i, 0}));
    const auto scope = pools.open_scope();
    for (std::size_t i = 0; i < blocks; ++i) {
      const auto block = pools.allocate(GroupKind::world, kBlockBytes, scope);
      block_data.push_back(pools.block(block.value()).data);
    }
  }

  cohort::Plan plan;
  cohort::heap::ArenaLayout layout;
  std::vector<std::byte> memory;
  cohort::heap::HeapView view;
  cohort::heap::Pools pools;
  std::vector<const std::byte*> entries;
  std::vector<const std::byte*> block_data;
};

void loop(benchmark::State& state) {
  const std::vector<std::uint32_t> numbers(kOperands, 1);
  time_each(state, numbers, [](std::uint32_t number) { return number != 0; });
}

void check_of_group(benchmark::State& state) {
  const auto slots = static_cast<std::size_t>(state.range(0));
  const Parts parts(slots, 0);
  std::mt19937 random(1);  // NOLINT(cert-msc51-cpp)
  std::vector<std::uint32_t> numbers(kOperands);
  // Those of tp alone, so that every answer is yes.
  for (std::uint32_t& number : numbers) {
    number = static_cast<std::uint32_t>(random() % ((slots + 1) / 2) * 2);
  }
  GroupKind group = GroupKind::tp;
  benchmark::DoNotOptimize(group);
  time_each(state, numbers, [&](std::uint32_t slot) {
    return cohort::heap::is_planned_for(parts.plan.slots()[slot], group);
  });
}

/// As calls find it.
void find_slot(benchmark::State& state) {
  const Parts parts(static_cast<std::size_t>(state.range(0)), 0);
  time_each(state, operands_in(parts.entries, kEntryBytes), [&](const std::byte* operand) {
    cohort::heap::HeapOperand found;
    return parts.view.locate(operand, kOperandBytes, found) && !found.runs_past_end;
  });
}

/// As the public call finds it.
void find_slot_by_value(benchmark::State& state) {
  const Parts parts(static_cast<std::size_t>(state.range(0)), 0);
  time_each(state, operands_in(parts.entries, kEntryBytes), [&](const std::byte* operand) {
    const auto found = parts.view.locate(operand, kOperandBytes);
    return found && !found->runs_past_end;
  });
}

void find_block(benchmark::State& state) {
  const Parts parts(1, static_cast<std::size_t>(state.range(0)));
  time_each(state, operands_in(parts.block_data, kBlockBytes), [&](const std::byte* operand) {
    const auto found = parts.pools.locate(operand, kOperandBytes);
    return found && found->is_live;
  });
}

/// Runs `body` in the session of a world of one rank.
template <typename Body>
void in_session(const cohort::Plan& plan, const Body& body) {
  cohort::run_ranks_as_threads(1, [&](std::unique_ptr<cohort::Bootstrap> bootstrap) {
    cohort::World world = cohort::World::join(std::move(bootstrap));
    cohort::Session session = cohort::commit(world, plan);
    body(session);
    session.close();
  });
}

void ask_of_slot(benchmark::State& state) {
  const auto slots = static_cast<std::uint32_t>(state.range(0));
  in_session(plan_of(slots, 0), [&](cohort::Session& session) {
    std::vector<const std::byte*> entries;
    for (std::uint32_t i = 0; i < slots; i += 2) {
      entries.push_back(session.take(cohort::SlotId{i}).as<std::byte>());
    }
    time_each(state, operands_in(entries, kEntryBytes), [&](const std::byte* operand) {
      return session.is_symmetric(operand, kOperandBytes, GroupKind::tp);
    });
  });
}

void ask_of_block(benchmark::State& state) {
  const auto blocks = static_cast<std::size_t>(state.range(0));
  in_session(plan_of(1, blocks), [&](cohort::Session& session) {
    cohort::Scope scope = session.scope(GroupKind::world);
    std::vector<const std::byte*> data;
    for (std::size_t i = 0; i < blocks; ++i) {
      data.push_back(scope.allocate(cohort::DType::u8, 1, kBlockBytes).as<std::byte>());
    }
    time_each(state, operands_in(data, kBlockBytes), [&](const std::byte* operand) {
      return session.is_symmetric(operand, kOperandBytes, GroupKind::world);
    });
  });
}

BENCHMARK(loop);
BENCHMARK(check_of_group)->ArgName("slots")->Arg(1)->Arg(8)->Arg(64);
BENCHMARK(find_slot)->ArgName("slots")->Arg(1)->Arg(8)->Arg(64);
BENCHMARK(find_slot_by_value)->ArgName("slots")->Arg(1)->Arg(8)->Arg(64);
BENCHMARK(find_block)->ArgName("blocks")->Arg(10)->Arg(1000)->Arg(10'000);
BENCHMARK(ask_of_slot)->ArgName("slots")->Arg(1)->Arg(8)->Arg(64);
BENCHMARK(ask_of_block)->ArgName("blocks")->Arg(10)->Arg(1000)->Arg(10'000);

}  // namespace

BENCHMARK_MAIN();
