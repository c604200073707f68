// Random programs over overlapping groups and lanes, with ranks that run at random speeds: the same
// on every rank, checked after every call. Entries are poisoned as soon as they are taken, so that
// a rank that still reads one would compute something wrong.

#include <chrono>
#include <random>
#include <string>
#include <thread>

#include <gtest/gtest.h>

#include <cohort/cohort.hpp>

#include "contract/reference_values.hpp"
#include "support/ranks.hpp"

namespace cohort {
namespace {

constexpr std::size_t kElementsMax = 12'000;
constexpr std::uint32_t kLanes = 2;

class Program {
 public:
  Program(Session& session, WorldRank rank, std::uint64_t seed)
      : session_(&session), rank_(rank), shared_(seed), own_(seed * 31 + rank.index()) {}

  void run(int steps) {
    for (int step = 0; step < steps; ++step) {
      call_seed_ = shared_();
      one_call();
    }
  }

 private:
  void one_call() {
    constexpr std::array kinds = {GroupKind::tp, GroupKind::attn_cp, GroupKind::attn,
                                  GroupKind::attn_tp};
    const Group group = session_->group(kinds[shared_() % kinds.size()]);
    const Lane lane{static_cast<std::uint32_t>(shared_() % kLanes)};
    const std::size_t part = shared_() % 3 == 0 ? shared_() % 40 : shared_() % 1400;
    const SlotId slot{static_cast<std::uint32_t>(shared_() % 2)};
    const std::uint64_t op = shared_() % 5;
    linger();
    const Buffer buffer = session_->take(slot);
    std::fill_n(buffer.as<float>(), kElementsMax, -77.0F);
    if (op == 0) all_reduce(group, lane, buffer.elements(part));
    if (op == 1) gather(group, lane, buffer, part);
    if (op == 2) scatter(group, lane, buffer, part);
    if (op == 4) ring(group, lane, buffer, part);
    if (op == 3) exchange(group, lane, buffer, shared_() % 2 == 0 ? part / 2 : part % 40);
  }

  void all_reduce(const Group& group, Lane lane, Tensor operand) {
    contract::fill(operand.data, call_seed_, rank_, 0, operand.elements, DType::f32);
    static_cast<void>(group.all_reduce(operand, ReduceOp::sum, lane));
    linger();
    for (std::size_t i = 0; i < operand.elements; ++i) {
      expect(operand, i,
             contract::reduced_bits(call_seed_, group.ranks(), i, DType::f32, ReduceOp::sum));
    }
  }

  void gather(const Group& group, Lane lane, const Buffer& buffer, std::size_t part) {
    const Tensor whole = buffer.elements(part * group.size());
    const Tensor own = buffer_part(whole, part * group.rank().index(), part);
    contract::fill(own.data, call_seed_, rank_, 0, part, DType::f32);
    static_cast<void>(group.all_gather(own, whole, lane));
    linger();
    for (std::size_t i = 0; i < whole.elements; ++i) {
      const WorldRank from = group.to_world(GroupRank{static_cast<std::uint32_t>(i / part)});
      expect(whole, i, contract::element_bits(call_seed_, from, i % part, DType::f32));
    }
  }

  void scatter(const Group& group, Lane lane, const Buffer& buffer, std::size_t part) {
    const Tensor whole = buffer.elements(part * group.size());
    const std::size_t begin = part * group.rank().index();
    const Tensor own = buffer_part(whole, begin, part);
    contract::fill(whole.data, call_seed_, rank_, 0, whole.elements, DType::f32);
    static_cast<void>(group.reduce_scatter(whole, own, ReduceOp::sum, lane));
    linger();
    for (std::size_t i = 0; i < part; ++i) {
      expect(
          own, i,
          contract::reduced_bits(call_seed_, group.ranks(), begin + i, DType::f32, ReduceOp::sum));
    }
  }

  void exchange(const Group& group, Lane lane, const Buffer& buffer, std::size_t part) {
    const Tensor input = buffer_part(buffer.elements(kElementsMax), 0, part * group.size());
    const Tensor output =
        buffer_part(buffer.elements(kElementsMax), kElementsMax / 2, part * group.size());
    contract::fill(input.data, call_seed_, rank_, 0, input.elements, DType::f32);
    static_cast<void>(group.all_to_all(input, output, lane));
    linger();
    for (std::size_t i = 0; i < output.elements; ++i) {
      const WorldRank from = group.to_world(GroupRank{static_cast<std::uint32_t>(i / part)});
      const std::size_t index = part * group.rank().index() + i % part;
      expect(output, i, contract::element_bits(call_seed_, from, index, DType::f32));
    }
  }

  /// Members send around a ring, some of them twice before they receive.
  void ring(const Group& group, Lane lane, const Buffer& buffer, std::size_t part) {
    const std::uint32_t size = group.size();
    if (size == 1) return;
    const std::uint32_t step = 1 + static_cast<std::uint32_t>(shared_() % (size - 1));
    const std::uint32_t messages = 1 + static_cast<std::uint32_t>(shared_() % 2);
    const std::uint32_t self = group.rank().index();
    const GroupRank from{(self + size - step) % size};
    const Tensor input = buffer.elements(part);
    // An entry of its own: writing to the one that is being sent would wait for its receiver.
    const Tensor output = session_->take(SlotId{1 - buffer.slot().index()}).elements(part);
    contract::fill(input.data, call_seed_, rank_, 0, part, DType::f32);
    for (std::uint32_t i = 0; i < messages; ++i) {
      static_cast<void>(group.send(input, GroupRank{(self + step) % size}, lane));
      linger();
    }
    for (std::uint32_t i = 0; i < messages; ++i) {
      std::fill_n(static_cast<float*>(output.data), part, -77.0F);
      static_cast<void>(group.recv(output, from, lane));
      linger();
      for (std::size_t k = 0; k < part; ++k) {
        expect(output, k, contract::element_bits(call_seed_, group.to_world(from), k, DType::f32));
      }
    }
  }

  static Tensor buffer_part(const Tensor& whole, std::size_t begin, std::size_t count) {
    return {static_cast<float*>(whole.data) + begin, count, DType::f32};
  }

  void expect(const Tensor& tensor, std::size_t index, std::uint64_t wanted) const {
    const std::uint64_t actual = contract::bits_at(tensor.data, index, DType::f32);
    if (actual == wanted) return;
    throw Error(ErrorCode::mismatch, "wrong element " + std::to_string(index) + " on rank " +
                                         std::to_string(rank_.index()));
  }

  /// Differs from rank to rank, so that every rank is at times the late one.
  void linger() {
    const std::uint64_t choice = own_() % 12;
    if (choice == 0) std::this_thread::sleep_for(std::chrono::microseconds(own_() % 300));
    if (choice <= 3) std::this_thread::yield();
  }

  Session* session_;
  WorldRank rank_;
  std::mt19937_64 shared_;  // the same on every rank
  std::mt19937_64 own_;
  std::uint64_t call_seed_ = 0;
};

TEST(Interleaving, RandomProgramsOverOverlappingGroupsAndLanes) {
  const std::vector<LayoutSizes> layouts = {
      {.tp = 4, .attn_dp = 2, .attn_cp = 2}, {.tp = 6, .attn_cp = 3}, {.tp = 8, .attn_dp = 2}};
  for (const LayoutSizes& sizes : layouts) {
    const Layout layout(sizes);
    const auto results =
        test::run_ranks(test::RankMode::threads, layout.world_size(), [&](World& world) {
          Plan plan(layout, {.strict = true, .lanes = kLanes});
          for (const std::uint32_t depth : {1U, 2U}) {
            static_cast<void>(plan.slot(
                "depth" + std::to_string(depth),
                {.groups = {GroupKind::tp, GroupKind::attn_cp, GroupKind::attn, GroupKind::attn_tp},
                 .dtype = DType::f32,
                 .rows_max = kElementsMax,
                 .row_elements = 1,
                 .depth = depth}));
          }
          for (const GroupKind kind :
               {GroupKind::tp, GroupKind::attn_cp, GroupKind::attn, GroupKind::attn_tp}) {
            plan.send_recv(kind);
          }
          Session session = commit(world, plan);
          Program(session, world.rank(), 4711 + layout.world_size()).run(400);
          for (const LedgerRow& row : session.ledger()) EXPECT_EQ(row.copied_bytes, 0U);
          session.close();
          return std::string("done");
        });
    test::expect_no_errors(results);
  }
}

}  // namespace
}  // namespace cohort
