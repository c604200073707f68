#include "collectives/cuda/nccl_calls.hpp"

#include <gtest/gtest.h>

#include "heap/device_channel.hpp"

namespace cohort::cuda {
namespace {

constexpr nccl::Version kSeen = nccl::version(2, 28, 9);

nccl::PathQuery query_of(Op op, DType dtype, bool in_arena) {
  nccl::PathQuery query;
  query.op = op;
  query.dtype = dtype;
  query.bytes = 4096;
  query.input_in_window = in_arena;
  query.output_in_window = in_arena;
  query.reductions_allowed = true;
  return query;
}

NcclRoute route(Path wanted, const nccl::PathQuery& query, nccl::Version version = kSeen) {
  nccl::PathQuery in_arena = query;
  in_arena.input_in_window = true;
  in_arena.output_in_window = true;
  in_arena.aligned = true;
  return nccl_route(wanted, query, nccl::path_of(version, query), nccl::path_of(version, in_arena));
}

TEST(NcclRoute, GivesWhatWasWantedWhereNcclHasIt) {
  const NcclRoute symmetric =
      route(Path::nccl_symmetric, query_of(Op::all_reduce, DType::bf16, true));
  EXPECT_EQ(symmetric.path, Path::nccl_symmetric);
  EXPECT_EQ(symmetric.reason, Reason::ok);
  const NcclRoute plain = route(Path::nccl_plain, query_of(Op::all_reduce, DType::bf16, false));
  EXPECT_EQ(plain.path, Path::nccl_plain);
  EXPECT_EQ(plain.reason, Reason::ok);
  EXPECT_TRUE(plain.by_operands);
}

TEST(NcclRoute, SaysWhatNcclDoesItself) {
  const NcclRoute taken = route(Path::nccl_plain, query_of(Op::all_gather, DType::u8, true));
  EXPECT_EQ(taken.path, Path::nccl_symmetric);
  EXPECT_EQ(taken.reason, Reason::ok);
}

TEST(NcclRoute, TellsWhyNcclDoesNotTakeACall) {
  const auto reason = [](Path wanted, const nccl::PathQuery& query, nccl::Version version = kSeen) {
    return route(wanted, query, version).reason;
  };
  const nccl::PathQuery outside = query_of(Op::all_reduce, DType::f32, false);
  EXPECT_EQ(reason(Path::nccl_symmetric, outside), Reason::operand_not_in_heap);
  EXPECT_TRUE(route(Path::nccl_symmetric, outside).by_operands);
  for (const Path wanted : {Path::nccl_symmetric, Path::nccl_plain}) {
    EXPECT_EQ(reason(wanted, query_of(Op::barrier, DType::u8, true)), Reason::op_unsupported);
    EXPECT_EQ(reason(wanted, query_of(Op::all_gatherv, DType::u8, true)), Reason::op_unsupported);
    nccl::PathQuery largest = query_of(Op::all_reduce, DType::f32, true);
    largest.reduce_op = ReduceOp::max;
    EXPECT_EQ(reason(wanted, largest), Reason::op_unsupported);
    nccl::PathQuery sum = query_of(Op::all_reduce, DType::f32, true);
    sum.reductions_allowed = false;
    EXPECT_EQ(reason(wanted, sum), Reason::op_unsupported);
    EXPECT_EQ(reason(wanted, query_of(Op::all_gather, DType::u8, true), nccl::version(2, 27, 0)),
              Reason::nccl_version_refused);
  }
  EXPECT_EQ(reason(Path::nccl_symmetric, query_of(Op::broadcast, DType::u8, true)),
            Reason::op_unsupported);
  EXPECT_EQ(reason(Path::nccl_symmetric, query_of(Op::all_reduce, DType::i32, true)),
            Reason::op_unsupported);
  EXPECT_EQ(reason(Path::nccl_symmetric, query_of(Op::all_reduce, DType::f32, true),
                   nccl::version(2, 31, 0)),
            Reason::nccl_version_refused);
  nccl::PathQuery apart = query_of(Op::all_reduce, DType::f32, true);
  apart.nvlink = false;
  EXPECT_EQ(reason(Path::nccl_symmetric, apart), Reason::nccl_version_refused);
  nccl::PathQuery registering = outside;
  registering.registers_operands = true;
  EXPECT_EQ(reason(Path::nccl_plain, registering), Reason::nccl_version_refused);
  EXPECT_TRUE(route(Path::nccl_plain, registering).by_operands);
}

TEST(NcclRoute, LeadsNoCallToKernelsThatGetItWrong) {
  for (const Path wanted : {Path::nccl_symmetric, Path::nccl_plain}) {
    nccl::PathQuery query = query_of(Op::all_gather, DType::u8, true);
    query.whole_parts = false;
    EXPECT_EQ(route(wanted, query).reason, Reason::operand_misaligned);
    EXPECT_FALSE(route(wanted, query).by_operands);
    query = query_of(Op::all_gather, DType::u8, true);
    query.aligned = false;  // here, if not on other ranks
    EXPECT_EQ(route(wanted, query).reason, Reason::operand_misaligned);
    EXPECT_TRUE(route(wanted, query).by_operands);
  }
  nccl::PathQuery outside = query_of(Op::all_gather, DType::u8, false);
  outside.whole_parts = outside.aligned = false;
  EXPECT_EQ(route(Path::nccl_plain, outside).path, Path::nccl_plain);
  EXPECT_EQ(route(Path::nccl_plain, outside).reason, Reason::ok);
}

TEST(NcclPlanned, IsEveryGroupOfTwoAndMoreOnceForALane) {
  Plan plan(Layout{{.tp = 4, .attn_dp = 2}}, {.lanes = 2, .memory = Memory::cuda});
  static_cast<void>(plan.slot("x", {.groups = {GroupKind::tp, GroupKind::attn_tp, GroupKind::pp},
                                    .rows_max = 8,
                                    .row_elements = 1}));
  const auto groups = nccl_groups_of(plan);
  ASSERT_EQ(groups.size(), 6U);  // tp once, attn_tp twice, pp has one rank
  for (std::size_t i = 0; i < groups.size(); ++i) {
    EXPECT_EQ(groups[i].kind, i < 2 ? GroupKind::tp : GroupKind::attn_tp);
    EXPECT_EQ(groups[i].lane.index(), i % 2);
    EXPECT_EQ(groups[i].ranks.size(), i < 2 ? 4U : 2U);
  }
  EXPECT_EQ(groups[5].instance, 1U);
  const NcclCalls calls(NcclUse::gathers, true, groups);
  EXPECT_EQ(calls.find(GroupKind::attn_tp, 1, Lane{1}), 5U);
  EXPECT_EQ(calls.find(GroupKind::pp, 0, Lane{0}), std::nullopt);
  EXPECT_EQ(
      calls.route(std::nullopt, Path::nccl_plain, query_of(Op::all_gather, DType::u8, true)).reason,
      Reason::nccl_version_refused);
}

TEST(NcclTally, TellsCallsThatNcclMissedFromOthers) {
  for (const Path path : {Path::gpu_ll, Path::gpu_lamport, Path::gpu_two_shot}) {
    for (const Reason reason : heap::kMissed) {
      const std::size_t index = heap::tally_index({path, reason}, true);
      EXPECT_LT(index, heap::kTallyPaths);
      EXPECT_EQ(heap::of_tally_index(index), (std::pair{path, std::optional(reason)}));
    }
    const std::size_t index = heap::tally_index({path, Reason::op_unsupported}, false);
    EXPECT_EQ(heap::of_tally_index(index), (std::pair{path, std::optional<Reason>()}));
  }
}

TEST(NcclHeaderStep, MovesNothing) {
  KernelCall call{};
  call.op = Op::all_reduce;
  call.bytes = 4096;
  call.input = 16;
  call.output = 32;
  call.channel = 7;
  const KernelCall header = header_step(call);
  EXPECT_EQ(header.op, Op::barrier);
  EXPECT_EQ(header.bytes, 0U);
  EXPECT_EQ(header.input, 0U);
  EXPECT_EQ(header.output, 0U);
  EXPECT_EQ(header.channel, 7U);
}

}  // namespace
}  // namespace cohort::cuda
