// The executor without a session around it: what only shows after very many calls.

#include "collectives/host/host_executor.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backend/host/host_backend.hpp"
#include "support/ranks.hpp"

namespace cohort::host {
namespace {

using collectives::Call;
using testing::HasSubstr;

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
  OpenExecutor(World& world, const Plan& plan, std::uint64_t first_sequence,
               std::vector<std::uint32_t> nodes = {}, std::uint32_t generation = 1)
      : layout_(heap::arena_layout(plan)),
        backend_(world.domain().shared_from_this()),
        arena_(backend_.allocate(layout_.arena.bytes)),
        rings_(plan, layout_.reader_count(0)),
        private_slots_(layout_.private_slots.bytes),
        slots_(layout_.slots_in_arena ? arena_->local() : private_slots_.data()),
        view_(plan, layout_, 0, slots_),
        executor_(world.domain(), *arena_, plan, layout_, slots_, rings_,
                  {.generation = generation,
                   .first_sequence = first_sequence,
                   .nodes = std::move(nodes)}) {
    arena_->map_peers(world.domain().deadline_after(world.limits().setup));
    executor_.attach();
  }

  std::int64_t* take(SlotId slot) {
    const heap::EntryId entry = rings_.next(slot);
    executor_.settle(entry);
    return reinterpret_cast<std::int64_t*>(view_.address_of(entry));
  }
  Verdict run(const Call& call) { return executor_.run(GroupKind::tp, call); }

 private:
  heap::ArenaLayout layout_;
  HostBackend backend_;
  std::unique_ptr<Arena> arena_;
  heap::SlotRings rings_;
  std::vector<std::byte> private_slots_;
  std::byte* slots_;
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
    static_cast<void>(open.run(sum_of({data, elements, DType::i64})));
    const std::int64_t wanted = step * ranks + ranks * (ranks - 1) / 2;
    ASSERT_TRUE(
        std::all_of(data, data + elements, [&](std::int64_t value) { return value == wanted; }))
        << "step " << step;
  }
  static_cast<void>(open.run(Call{}));
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
      static_cast<void>(open.run(message_of(Op::send, {data, elements, DType::i64}, self, to)));
    }
    for (int message = 0; message < 2; ++message) {
      auto* data = open.take(received);
      std::fill_n(data, elements, -1);
      static_cast<void>(open.run(message_of(Op::recv, {data, elements, DType::i64}, from, self)));
      const std::int64_t wanted = step * 1000 + message * 100 + from;
      ASSERT_TRUE(
          std::all_of(data, data + elements, [&](std::int64_t value) { return value == wanted; }))
          << "step " << step << " message " << message;
    }
    if (step % 50 == 0) static_cast<void>(open.run(Call{}));
  }
  static_cast<void>(open.run(Call{}));
}

constexpr std::size_t kBroadcastMax = 100'000;  // several pieces of a relayed broadcast

constexpr std::array<std::size_t, 3> kSmallSizes = {0, 3, 2'000};

/// Made-up placements of `size` ranks on memory nodes.
std::vector<std::vector<std::uint32_t>> placements(std::uint32_t size) {
  std::vector<std::vector<std::uint32_t>> maps(5, std::vector<std::uint32_t>(size));
  for (std::uint32_t rank = 0; rank < size; ++rank) {
    maps[0][rank] = rank % 2;
    maps[1][rank] = rank * 2 / size;
    maps[2][rank] = size - rank;  // each on its own
    maps[3][rank] = rank == size / 2 ? 1 : 0;
    maps[4][rank] = rank * 3 % 4;
  }
  return maps;
}

class PlacedRank {
 public:
  PlacedRank(World& world, const Plan& plan, std::vector<std::uint32_t> nodes)
      : open_(world, plan, 0, std::move(nodes)), self_(world.rank().index()), size_(world.size()) {}

  /// From every root, with the operand of one rank outside the heap.
  void broadcast(std::size_t elements) {
    for (std::uint32_t root = 0; root < size_; ++root) {
      for (std::uint32_t stray = 0; stray <= size_; ++stray) {
        std::int64_t* data = open_.take(SlotId{0});
        std::vector<std::int64_t> outside(stray == self_ ? elements : 0);
        if (stray == self_) data = outside.data();
        std::fill_n(data, elements, self_ == root ? ++turn_ : std::int64_t{-1});
        Call call;
        call.op = Op::broadcast;
        call.dtype = DType::i64;
        call.root = GroupRank{root};
        call.input = call.output = Tensor{data, elements, DType::i64};
        static_cast<void>(open_.run(call));
        if (self_ != root) ++turn_;
        expect(data, elements, turn_, "broadcast");
      }
    }
  }

  void gather_and_sum(std::size_t elements) {
    std::int64_t* const in = open_.take(SlotId{0});
    std::int64_t* const out = open_.take(SlotId{1});
    std::fill_n(in, elements * size_, self_);
    std::fill_n(out, elements * size_, -1);
    Call call;
    call.dtype = DType::i64;
    call.op = Op::all_to_all;
    call.input = Tensor{in, elements * size_, DType::i64};
    call.output = Tensor{out, elements * size_, DType::i64};
    static_cast<void>(open_.run(call));
    for (std::uint32_t m = 0; m < size_; ++m) expect(out + m * elements, elements, m, "exchange");
    call.op = Op::all_gather;
    call.input = Tensor{in, elements, DType::i64};
    static_cast<void>(open_.run(call));
    for (std::uint32_t m = 0; m < size_; ++m) expect(out + m * elements, elements, m, "gather");
    call.op = Op::all_reduce;
    call.output = Tensor{out, elements, DType::i64};
    static_cast<void>(open_.run(call));
    expect(out, elements, std::int64_t{size_} * (size_ - 1) / 2, "sum");
  }

  /// One rank at a time cannot take part: nobody may wait for what it would have relayed.
  void refuse_in_turn(std::size_t elements) {
    for (std::uint32_t refusing = 0; refusing < size_; ++refusing) {
      for (std::uint32_t root = 0; root < size_; ++root) {
        std::int64_t* const data = open_.take(SlotId{0});
        Call call;
        call.op = Op::broadcast;
        call.dtype = DType::i64;
        call.root = GroupRank{root};
        call.input = call.output = Tensor{data, elements, DType::i64};
        if (refusing == self_) call.input.data = call.output.data = nullptr;
        EXPECT_THROW(static_cast<void>(open_.run(call)), Error);
      }
    }
  }

  void barrier() { static_cast<void>(open_.run(Call{})); }

 private:
  static void expect(const std::int64_t* data, std::size_t elements, std::int64_t wanted,
                     const char* what) {
    for (std::size_t i = 0; i < elements; ++i) {
      if (data[i] == wanted) continue;
      throw std::runtime_error(std::string(what) + ": element " + std::to_string(i) + " is " +
                               std::to_string(data[i]) + ", not " + std::to_string(wanted));
    }
  }

  OpenExecutor open_;
  std::uint32_t self_;
  std::uint32_t size_;
  std::int64_t turn_ = 0;
};

TEST(HostExecutor, RanksOfSeveralMemoryNodesGetTheSameResults) {
  for (std::uint32_t size = 2; size <= 8; ++size) {
    for (const auto& nodes : placements(size)) {
      for (const Symmetry symmetry : {Symmetry::on, Symmetry::off}) {
        const auto results = test::run_ranks(test::RankMode::threads, size, [&](World& world) {
          Plan plan(Layout{{.tp = size}}, {.symmetry = symmetry});
          for (const char* name : {"first", "second"}) {
            static_cast<void>(plan.slot(name, {.groups = {GroupKind::tp},
                                               .dtype = DType::i64,
                                               .rows_max = kBroadcastMax,
                                               .row_elements = 1,
                                               .depth = 2}));
          }
          PlacedRank rank(world, plan, nodes);
          for (const std::size_t elements : kSmallSizes) rank.broadcast(elements);
          if (size < 6) rank.broadcast(kBroadcastMax - 1);
          for (const std::size_t elements : kSmallSizes) rank.gather_and_sum(elements);
          rank.refuse_in_turn(2'000);
          rank.broadcast(2'000);
          rank.barrier();
          return std::string("done");
        });
        test::expect_no_errors(results);
      }
    }
  }
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

TEST(HostExecutor, ACallOfAnotherGenerationIsAMismatch) {
  const auto results = test::run_ranks(test::RankMode::threads, 3, [](World& world) {
    Plan plan(Layout{{.tp = world.size()}});
    const SlotId slot = plan.slot(
        "rows",
        {.groups = {GroupKind::tp}, .dtype = DType::i64, .rows_max = 10, .row_elements = 1});
    const std::uint32_t generation = world.rank() == WorldRank{1} ? 2 : 3;
    OpenExecutor open(world, plan, 0, {}, generation);
    static_cast<void>(open.run(sum_of({open.take(slot), 10, DType::i64})));
    return std::string();
  });
  for (const test::RankResult& result : results) {
    ASSERT_TRUE(result.error);
    EXPECT_EQ(result.error->code(), ErrorCode::mismatch);
    EXPECT_THAT(result.error->what(), HasSubstr("the calls differ (one of generation "));
    EXPECT_THAT(result.error->what(), HasSubstr(" of the plan) in call 1 on tp [0, 1, 2]"));
  }
}

}  // namespace
}  // namespace cohort::host
