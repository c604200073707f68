// Which path a call takes in a session with NCCL, and what it is told, over the fakes.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cohort/cohort.hpp>

#include "session/cuda_nccl.hpp"
#include "support/meet.hpp"

namespace cohort {
namespace {

using test::expect_all;
using test::FakeNcclFaults;
using test::kNcclPlain;
using test::kNcclSymmetric;
using test::meet;
using test::nccl_options;
using test::nccl_plan;
using test::on_all;
using test::on_rank_1;
using test::run_over_nccl;
using test::sum_of_ones;
using testing::HasSubstr;

/// An all_reduce of ones in memory outside the arena.
template <typename Element>
Verdict sum_outside(Session& session, DType dtype) {
  std::vector<Element> memory(1000, Element{1});
  const Group tp = session.group(GroupKind::tp);
  const Verdict verdict = tp.all_reduce({memory.data(), memory.size(), dtype}, ReduceOp::sum);
  session.wait({});
  EXPECT_EQ(memory.back(), static_cast<Element>(tp.size()));
  return verdict;
}

Verdict broadcast(Session& session) {
  const Buffer buffer = session.take(SlotId{0});
  const Group tp = session.group(GroupKind::tp);
  std::fill_n(buffer.as<float>(), 100, static_cast<float>(tp.rank().index() + 5));
  const Verdict verdict = tp.broadcast(buffer.elements(100), GroupRank{1});
  session.wait({});
  EXPECT_EQ(buffer.as<float>()[99], 6.0F);
  return verdict;
}

Verdict own(Reason reason) {
  return {Path::gpu_lamport, reason, 0};
}

TEST(NcclPaths, AreTakenByWhatFits) {
  const auto results = run_over_nccl(2, [](World& world) {
    Session session = commit(world, nccl_plan(nccl_options(Path::nccl_symmetric)));
    EXPECT_EQ(sum_of_ones(session), kNcclSymmetric);
    EXPECT_EQ(sum_outside<float>(session, DType::f32), own(Reason::operand_not_in_heap));
    EXPECT_EQ(sum_outside<std::int32_t>(session, DType::i32), own(Reason::op_unsupported));
    EXPECT_EQ(broadcast(session).reason, Reason::op_unsupported);
    EXPECT_EQ(session.explain(GroupKind::tp, Op::all_reduce, DType::f32, 4000),
              (PathChoice{Path::nccl_symmetric, Reason::ok}));
    EXPECT_EQ(session.explain(GroupKind::tp, Op::broadcast, DType::f32, 4000),
              (PathChoice{Path::gpu_lamport, Reason::op_unsupported}));
    std::vector<std::string> rows;
    for (const LedgerRow& row : session.ledger()) {
      rows.push_back(std::string(to_string(row.op)) + " " + std::string(to_string(row.path)) + " " +
                     std::string(to_string(row.reason)));
      EXPECT_EQ(row.calls, 1U);
      EXPECT_EQ(row.bytes, row.op == Op::broadcast ? 400U : 4000U);
    }
    EXPECT_THAT(rows, testing::UnorderedElementsAre("all_reduce nccl_symmetric ok",
                                                    "all_reduce gpu_lamport operand_not_in_heap",
                                                    "all_reduce gpu_lamport op_unsupported",
                                                    "broadcast gpu_ll op_unsupported"));
    session.close();
    return std::string();
  });
  test::expect_no_errors(results);
}

TEST(NcclPaths, PlainOnesBecomeSymmetricInTheArenaAsNcclDoes) {
  const auto results = run_over_nccl(2, [](World& world) {
    Session session = commit(world, nccl_plan(nccl_options(Path::nccl_plain)));
    meet(world);
    const auto before = test::fake_nccl_counts();
    meet(world);
    EXPECT_EQ(sum_of_ones(session), kNcclSymmetric);
    EXPECT_EQ(sum_outside<float>(session, DType::f32), kNcclPlain);
    EXPECT_EQ(sum_outside<std::int32_t>(session, DType::i32), kNcclPlain);
    EXPECT_EQ(broadcast(session), kNcclPlain);
    meet(world);
    const auto after = test::fake_nccl_counts();
    EXPECT_EQ(after.calls - before.calls, 8U);
    EXPECT_EQ(after.symmetric_calls - before.symmetric_calls, 2U);
    session.close();
    return std::string();
  });
  test::expect_no_errors(results);
}

TEST(NcclPaths, LeaveSumsOfFloatsToUsUnlessAsked) {
  const auto results = run_over_nccl(2, [](World& world) {
    Session session = commit(world, nccl_plan(nccl_options(Path::nccl_plain, NcclUse::gathers)));
    EXPECT_EQ(sum_of_ones(session), own(Reason::op_unsupported));
    EXPECT_EQ(sum_outside<std::int32_t>(session, DType::i32), kNcclPlain);
    session.close();
    return std::string();
  });
  test::expect_no_errors(results);
}

TEST(NcclPaths, AreNoneWhereTheVersionHasNoWindows) {
  FakeNcclFaults newer;
  newer.version = 23'100;
  const auto results = run_over_nccl(
      2,
      [](World& world) {
        Session session = commit(world, nccl_plan(nccl_options(Path::nccl_symmetric)));
        EXPECT_EQ(sum_of_ones(session), own(Reason::nccl_version_refused));
        session.close();
        Session plain = commit(world, nccl_plan(nccl_options(Path::nccl_plain)));
        EXPECT_EQ(sum_of_ones(plain), kNcclPlain);
        plain.close();
        return std::string();
      },
      on_all(newer));
  test::expect_no_errors(results);
}

TEST(NcclPaths, AreRefusedWhenStrict) {
  FakeNcclFaults newer;
  newer.version = 23'100;
  const auto strict = [](World& world) {
    Session session =
        commit(world, nccl_plan(nccl_options(Path::nccl_symmetric, NcclUse::reductions, true)));
    try {
      static_cast<void>(sum_of_ones(session));
    } catch (const Error&) {
      session.close();  // nothing of the session is lost
      throw;
    }
    return std::string();
  };
  expect_all(run_over_nccl(2, strict, on_all(newer)), ErrorCode::strict_miss,
             {"gpu_lamport", "nccl_version_refused"});
  const auto results = run_over_nccl(2, [](World& world) {
    Session session =
        commit(world, nccl_plan(nccl_options(Path::nccl_symmetric, NcclUse::reductions, true)));
    EXPECT_EQ(sum_of_ones(session), kNcclSymmetric);
    try {
      static_cast<void>(sum_outside<float>(session, DType::f32));
      ADD_FAILURE() << "an operand outside the arena was let through";
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr("strict"));
      EXPECT_THAT(error.what(), HasSubstr("operand_not_in_heap"));
    }
    EXPECT_EQ(sum_of_ones(session), kNcclSymmetric);
    session.close();
    return std::string();
  });
  test::expect_no_errors(results);
}

/// In place in a slot, `elements` bytes of each rank, the first of them at `offset`.
Verdict gather_bytes(Session& session, std::size_t elements, std::size_t offset) {
  const Group tp = session.group(GroupKind::tp);
  const std::size_t self = tp.rank().index();
  const Buffer buffer = session.take(SlotId{0});
  std::byte* const first = static_cast<std::byte*>(buffer.data()) + offset;
  std::byte* const own = first + self * elements;
  std::fill_n(own, elements, std::byte(self + 1));
  const Verdict verdict =
      tp.all_gather({own, elements, DType::u8}, {first, 2 * elements, DType::u8});
  session.wait({});
  for (std::size_t i = 0; i < 2 * elements; ++i) {
    EXPECT_EQ(first[i], std::byte(i / elements + 1)) << elements << " bytes, " << i;
  }
  return verdict;
}

TEST(NcclPaths, AreOwnWhereSymmetricKernelsGiveWrongResults) {
  for (const Path pin : {Path::nccl_symmetric, Path::nccl_plain}) {
    const auto results = run_over_nccl(2, [&](World& world) {
      Session session = commit(world, nccl_plan(nccl_options(pin)));
      EXPECT_EQ(gather_bytes(session, 4096, 0), kNcclSymmetric);
      EXPECT_EQ(gather_bytes(session, 4094, 0), own(Reason::operand_misaligned));
      EXPECT_EQ(gather_bytes(session, 4096, 2), own(Reason::operand_misaligned));
      EXPECT_EQ(gather_bytes(session, 4096, 4), kNcclSymmetric);
      session.close();
      return std::string();
    });
    test::expect_no_errors(results);
  }
}

TEST(NcclPaths, PlainOnesAreNoneWhereARankLetsNcclRegisterOperands) {
  FakeNcclFaults registers;
  registers.registers_operands = true;
  const auto results = run_over_nccl(
      2,
      [](World& world) {
        Session session = commit(world, nccl_plan(nccl_options(Path::nccl_plain)));
        EXPECT_EQ(sum_of_ones(session), kNcclSymmetric);
        EXPECT_EQ(sum_outside<float>(session, DType::f32), own(Reason::nccl_version_refused));
        EXPECT_EQ(broadcast(session).reason, Reason::nccl_version_refused);
        session.close();
        return std::string();
      },
      on_rank_1(registers));
  test::expect_no_errors(results);
}

TEST(NcclPaths, AreNoneWhereRanksShareADevice) {
  const auto results = run_over_nccl(2, [](World& world) {
    Session session = commit(world, nccl_plan(nccl_options(Path::nccl_plain)), {.device = 0});
    EXPECT_EQ(sum_of_ones(session), own(Reason::nccl_version_refused));
    session.close();
    return std::string();
  });
  test::expect_no_errors(results);
  EXPECT_EQ(test::fake_nccl_counts().joined, 0U);
}

TEST(NcclHeader, FindsCallsThatDiffer) {
  const auto results = run_over_nccl(2, [](World& world) {
    Session session = commit(world, nccl_plan(nccl_options(Path::nccl_symmetric)));
    const Buffer buffer = session.take(SlotId{0});
    const std::size_t elements = world.rank() == WorldRank{0} ? 8 : 16;
    static_cast<void>(
        session.group(GroupKind::tp).all_reduce(buffer.elements(elements), ReduceOp::sum));
    while (true) session.wait({});
    return std::string();
  });
  expect_all(results, ErrorCode::mismatch,
             {"all_reduce(sum, f32, 32 bytes, nccl_symmetric)",
              "all_reduce(sum, f32, 64 bytes, nccl_symmetric)"});
}

TEST(NcclHeader, FindsOperandsAtOtherPlaces) {
  const auto results = run_over_nccl(2, [](World& world) {
    Session session = commit(world, nccl_plan(nccl_options(Path::nccl_symmetric)));
    Buffer buffer = session.take(SlotId{0});
    if (world.rank() == WorldRank{1}) buffer = session.take(SlotId{0});
    static_cast<void>(session.group(GroupKind::tp).all_reduce(buffer.elements(8), ReduceOp::sum));
    while (true) session.wait({});
    return std::string();
  });
  expect_all(results, ErrorCode::mismatch, {"the members' calls differ", "at other places"});
}

TEST(NcclHeader, FindsAnOperandThatLiesOutsideOnOneRank) {
  const auto results = run_over_nccl(2, [](World& world) {
    Session session = commit(world, nccl_plan(nccl_options(Path::nccl_symmetric)));
    const Buffer buffer = session.take(SlotId{0});
    std::vector<float> outside(8);
    const Tensor operand = world.rank() == WorldRank{0} ? Tensor(buffer.elements(8))
                                                        : Tensor{outside.data(), 8, DType::f32};
    static_cast<void>(session.group(GroupKind::tp).all_reduce(operand, ReduceOp::sum));
    while (true) session.wait({});
    return std::string();
  });
  expect_all(results, ErrorCode::mismatch, {"nccl_symmetric", "gpu_ll"});
}

}  // namespace
}  // namespace cohort
