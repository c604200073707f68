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

Call message_of(Op op, Tensor operand, std::uint32_t from, std::uint32_t to) {
  Call call;
  call.op = op;
  call.dtype = operand.dtype;
  call.root = GroupRank{from};
  call.to = GroupRank{to};
  call.input = Tensor{nullptr, 0, operand.dtype};
  call.output = Tensor{nullptr, 0, operand.dtype};
  if (op == Op::send) call.input = operand;
  if (op == Op::recv) call.output = operand;
  return call;
}

/// What a session does around an executor, with a first sequence of the test's choice.
class OpenExecutor {
 public:
  OpenExecutor(World& world, const Plan& plan, std::uint64_t first_sequence)
      : layout_(heap::arena_layout(plan)),
        backend_(world.domain().shared_from_this()),
        arena_(backend_.allocate(layout_.arena.bytes)),
        rings_(plan, layout_.reader_count(0)),
        view_(plan, layout_, 0, arena_->local()),
        executor_(world.domain(), *arena_, plan, layout_, arena_->local(), rings_,
                  {.generation = 1, .first_sequence = first_sequence}) {
    arena_->map_peers(world.domain().deadline_after(world.limits().setup));
    executor_.attach();
  }

  std::int64_t* take(SlotId slot) {
    const heap::EntryId entry = rings_.next(slot);
    executor_.settle(entry);
    return reinterpret_cast<std::int64_t*>(view_.address_of(entry));
  }
  void run(const Call& call) { static_cast<void>(executor_.run(GroupKind::tp, call)); }

 private:
  heap::ArenaLayout layout_;
  HostBackend backend_;
  std::unique_ptr<Arena> arena_;
  heap::SlotRings rings_;
  heap::HeapView view_;
  HostExecutor executor_;
};

/// All-reduces of every path's size around the wrap of the sequence, entries reused at once.
void run_across_the_wrap(World& world, std::uint64_t first_sequence) {
  Plan plan(Layout{{.tp = world.size()}});
  const SlotId slot = plan.slot("rows", {.groups = {GroupKind::tp},
                                         .dtype = DType::i64,
                                         .rows_max = kElementsMax,
                                         .row_elements = 1,
                                         .depth = 2});
  OpenExecutor open(world, plan, first_sequence);
  const std::int64_t ranks = world.size();
  for (std::int64_t step = 0; step < 600; ++step) {
    auto* data = open.take(slot);
    const std::size_t elements = step % 5 == 0 ? kElementsMax : static_cast<std::size_t>(step);
    std::fill_n(data, elements, step + world.rank().index());
    open.run(sum_of({data, elements, DType::i64}));
    const std::int64_t wanted = step * ranks + ranks * (ranks - 1) / 2;
    ASSERT_TRUE(
        std::all_of(data, data + elements, [&](std::int64_t value) { return value == wanted; }))
        << "step " << step;
  }
  open.run(Call{});
}

/// Messages of every path's size both ways between neighbours, up to two of them under way.
void send_across_the_wrap(World& world, std::uint64_t first_sequence) {
  Plan plan(Layout{{.tp = world.size()}});
  const SlotSpec spec{.groups = {GroupKind::tp},
                      .dtype = DType::i64,
                      .rows_max = kElementsMax,
                      .row_elements = 1,
                      .depth = 2};
  const SlotId sent = plan.slot("sent", spec);
  const SlotId received = plan.slot("received", spec);
  plan.send_recv(GroupKind::tp);
  OpenExecutor open(world, plan, first_sequence);
  const std::uint32_t self = world.rank().index();
  const std::uint32_t size = world.size();
  for (std::int64_t step = 0; step < 300; ++step) {
    const bool forward = step % 3 != 0;
    const std::uint32_t to = forward ? (self + 1) % size : (self + size - 1) % size;
    const std::uint32_t from = forward ? (self + size - 1) % size : (self + 1) % size;
    const std::size_t elements =
        step % 5 == 0 ? kElementsMax : static_cast<std::size_t>(step % 7) * 100;
    for (int message = 0; message < 2; ++message) {
      auto* data = open.take(sent);
      std::fill_n(data, elements, step * 1000 + message * 100 + self);
      open.run(message_of(Op::send, {data, elements, DType::i64}, self, to));
    }
    for (int message = 0; message < 2; ++message) {
      auto* data = open.take(received);
      std::fill_n(data, elements, -1);
      open.run(message_of(Op::recv, {data, elements, DType::i64}, from, self));
      const std::int64_t wanted = step * 1000 + message * 100 + from;
      ASSERT_TRUE(
          std::all_of(data, data + elements, [&](std::int64_t value) { return value == wanted; }))
          << "step " << step << " message " << message;
    }
    if (step % 50 == 0) open.run(Call{});
  }
  open.run(Call{});
}

TEST(HostExecutor, MessagesGoOnAcrossTheWrapOfTheirSequence) {
  for (const std::uint64_t first : {std::uint64_t{0}, (std::uint64_t{1} << 32U) - 150,
                                    std::numeric_limits<std::uint64_t>::max() - 150}) {
    for (const std::uint32_t ranks : {2U, 3U}) {
      const auto results = test::run_ranks(test::RankMode::threads, ranks, [&](World& world) {
        send_across_the_wrap(world, first);
        return std::string("done");
      });
      test::expect_no_errors(results);
    }
  }
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
