// The executor without a session around it: what only shows after very many calls.

#include "collectives/host/host_executor.hpp"

#include <algorithm>
#include <cstdint>
#include <limits>

#include <gtest/gtest.h>

#include "backend/host/host_backend.hpp"
#include "support/ranks.hpp"

namespace cohort::host {
namespace {

using collectives::Call;

constexpr std::size_t kElementsMax = 8'000;

TEST(HostExecutor, SequencesMayWrapAround) {
  EXPECT_TRUE(reached(5, 5));
  EXPECT_TRUE(reached(6, 5));
  EXPECT_FALSE(reached(4, 5));
  EXPECT_TRUE(reached(2, std::numeric_limits<std::uint64_t>::max()));
  EXPECT_FALSE(reached(std::numeric_limits<std::uint64_t>::max() - 1, 2));
}

Call sum_of(Tensor operand) {
  Call call;
  call.op = Op::all_reduce;
  call.reduce_op = ReduceOp::sum;
  call.dtype = DType::i64;
  call.input = operand;
  call.output = operand;
  return call;
}

/// All-reduces of every path's size around the wrap of the sequence, entries reused at once.
void run_across_the_wrap(World& world, std::uint64_t first_sequence) {
  Plan plan(Layout{{.tp = world.size()}});
  const SlotId slot = plan.slot("rows", {.groups = {GroupKind::tp},
                                         .dtype = DType::i64,
                                         .rows_max = kElementsMax,
                                         .row_elements = 1,
                                         .depth = 2});
  const heap::ArenaLayout layout = heap::arena_layout(plan);
  HostBackend backend(world.domain().shared_from_this());
  const auto arena = backend.allocate(layout.arena.bytes);
  heap::SlotRings rings(plan, layout.channels.size());
  HostExecutor executor(world.domain(), *arena, plan, layout, arena->local(), rings,
                        {.generation = 1, .first_sequence = first_sequence});
  arena->map_peers(world.domain().deadline_after(world.limits().setup));
  executor.attach();
  const heap::HeapView view(plan, layout, 0, arena->local());
  const std::int64_t ranks = world.size();
  for (std::int64_t step = 0; step < 600; ++step) {
    const heap::EntryId entry = rings.next(slot);
    executor.settle(entry);
    auto* data = reinterpret_cast<std::int64_t*>(view.address_of(entry));
    const std::size_t elements = step % 5 == 0 ? kElementsMax : static_cast<std::size_t>(step);
    std::fill_n(data, elements, step + world.rank().index());
    static_cast<void>(executor.run(GroupKind::tp, sum_of({data, elements, DType::i64})));
    const std::int64_t wanted = step * ranks + ranks * (ranks - 1) / 2;
    ASSERT_TRUE(
        std::all_of(data, data + elements, [&](std::int64_t value) { return value == wanted; }))
        << "step " << step;
  }
  Call barrier;
  static_cast<void>(executor.run(GroupKind::tp, barrier));
}

TEST(HostExecutor, CallsGoOnAcrossTheWrapOfTheirSequence) {
  for (const std::uint64_t first : {std::uint64_t{0}, (std::uint64_t{1} << 32U) - 300,
                                    std::numeric_limits<std::uint64_t>::max() - 300}) {
    const auto results = test::run_ranks(test::RankMode::threads, 3, [&](World& world) {
      run_across_the_wrap(world, first);
      return std::string("done");
    });
    test::expect_no_errors(results);
  }
}

}  // namespace
}  // namespace cohort::host
