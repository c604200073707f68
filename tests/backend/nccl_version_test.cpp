#include <map>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cohort/error.hpp>

#include "backend/cuda/nccl/nccl_survey.hpp"
#include "backend/cuda/nccl/version.hpp"

namespace cohort::cuda::nccl {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr Version k28 = version(2, 28, 9);
constexpr Version k29 = version(2, 29, 2);
constexpr Version k29Late = version(2, 29, 7);
constexpr Version k30 = version(2, 30, 4);
constexpr Version k30Late = version(2, 30, 7);
constexpr Version kUnknown = version(2, 31, 2);
constexpr Version kOld = version(2, 27, 7);

TEST(NcclVersion, is_spelled_as_nccl_spells_it) {
  EXPECT_EQ(k28.code, 22'809);
  EXPECT_EQ(to_string(k28), "2.28.9");
  EXPECT_EQ(to_string(version(2, 30, 7)), "2.30.7");
}

TEST(NcclVersion, supports_what_its_source_shows) {
  // By feature: 2.27.7, 2.28.9, 2.29.2, 2.29.7, 2.30.4, 2.30.7, a later one.
  const std::vector<Version> versions = {kOld, k28, k29, k29Late, k30, k30Late, kUnknown};
  const std::map<Feature, std::string> expected = {
      {Feature::plain_calls, "-++++++"},         {Feature::windows, "-+++++-"},
      {Feature::one_operand, "--++++-"},         {Feature::several_allocations, "--++++-"},
      {Feature::null_window, "--++++-"},         {Feature::repeated_window, "-+++---"},
      {Feature::early_predecessor, "-----+-"},   {Feature::capture_windows, "-----+-"},
      {Feature::unequal_windows, "-----+-"},     {Feature::offset_check, "---+++-"},
      {Feature::registered_operands, "-------"},
  };
  ASSERT_EQ(expected.size(), kFeatureCount);
  for (const auto& [feature, signs] : expected) {
    for (std::size_t i = 0; i < versions.size(); ++i) {
      const Support support = support_of(versions[i], feature);
      EXPECT_EQ(support.supported, signs[i] == '+')
          << to_string(feature) << " of " << to_string(versions[i]);
      EXPECT_EQ(support.supported, support.reason.empty());
    }
  }
}

TEST(NcclVersion, trusts_a_version_that_nobody_has_read_with_plain_calls_only) {
  EXPECT_THAT(support_of(kUnknown, Feature::windows).reason, HasSubstr("newer than 2.30.7"));
  PathQuery query;
  query.op = Op::all_gather;
  query.input_in_window = query.output_in_window = true;
  EXPECT_EQ(path_of(kUnknown, query).path, CallPath::plain);
  EXPECT_EQ(path_of(version(3, 0, 0), query).path, CallPath::plain);
  EXPECT_EQ(path_of(kOld, query).path, CallPath::refused);
  // Between two releases that were read: like the earlier one, or refused where they differ.
  EXPECT_EQ(path_of(version(2, 29, 5), query).path, CallPath::symmetric);
}

TEST(NcclPath, needs_both_operands_in_windows) {
  for (const Version version : {k28, k29, k29Late, k30, k30Late}) {
    for (const Op op : {Op::all_gather, Op::all_reduce, Op::reduce_scatter}) {
      for (const bool input : {false, true}) {
        for (const bool output : {false, true}) {
          PathQuery query;
          query.op = op;
          query.reductions_allowed = true;
          query.input_in_window = input;
          query.output_in_window = output;
          const PathAnswer answer = path_of(version, query);
          EXPECT_EQ(answer.path, input && output ? CallPath::symmetric : CallPath::plain)
              << to_string(op) << " on " << to_string(version);
          EXPECT_EQ(answer.reason.empty(), input && output);
        }
      }
    }
  }
}

TEST(NcclPath, says_where_one_operand_leaves_it_to_the_tuner) {
  PathQuery query;
  query.op = Op::all_gather;
  query.output_in_window = true;
  EXPECT_THAT(path_of(k28, query).reason, HasSubstr("only one operand"));
  EXPECT_THAT(path_of(k29, query).reason, HasSubstr("tuner"));
  query.output_in_window = false;
  query.input_in_window = true;
  EXPECT_THAT(path_of(k29, query).reason, HasSubstr("only one operand"));
  query.op = Op::reduce_scatter;
  query.reductions_allowed = true;
  EXPECT_THAT(path_of(k29, query).reason, HasSubstr("tuner"));
  EXPECT_THAT(path_of(k28, query).reason, HasSubstr("only one operand"));
}

PathQuery query_in_windows(Op op, DType dtype = DType::bf16) {
  PathQuery query;
  query.op = op;
  query.dtype = dtype;
  query.reductions_allowed = true;
  query.input_in_window = query.output_in_window = true;
  return query;
}

TEST(NcclPath, reduces_floats_on_opt_in_only) {
  for (const Op op : {Op::all_reduce, Op::reduce_scatter}) {
    for (const DType dtype : all_dtypes()) {
      PathQuery query = query_in_windows(op, dtype);
      const bool is_float = dtype == DType::f32 || dtype == DType::bf16 || dtype == DType::f16;
      if (dtype == DType::f8e4m3) {
        EXPECT_EQ(path_of(k28, query).path, CallPath::refused);
        continue;
      }
      EXPECT_EQ(path_of(k28, query).path, is_float ? CallPath::symmetric : CallPath::plain);
      query.reductions_allowed = false;
      EXPECT_EQ(path_of(k28, query).path, is_float ? CallPath::refused : CallPath::plain);
      query.reductions_allowed = true;
      for (const ReduceOp reduce_op : {ReduceOp::min, ReduceOp::max}) {
        query.reduce_op = reduce_op;
        EXPECT_EQ(path_of(k28, query).path, is_float ? CallPath::refused : CallPath::plain);
      }
    }
  }
}

TEST(NcclPath, moves_every_type) {
  for (const DType dtype : all_dtypes()) {
    PathQuery query = query_in_windows(Op::all_gather, dtype);
    query.reductions_allowed = false;
    EXPECT_EQ(path_of(k28, query).path, CallPath::symmetric);
    query.op = Op::broadcast;
    EXPECT_EQ(path_of(k28, query).path, CallPath::plain);
    query.op = Op::all_to_all;
    EXPECT_EQ(path_of(k28, query).path, CallPath::plain);
  }
}

TEST(NcclPath, is_never_plain_where_nccl_registers_operands_of_its_own_accord) {
  for (const Version version : {k28, k29, k29Late, k30, k30Late, kUnknown}) {
    PathQuery query = query_in_windows(Op::broadcast);
    query.registers_operands = true;
    EXPECT_EQ(path_of(version, query).path, CallPath::refused);
    query.op = Op::all_gather;
    const bool known = version != kUnknown;
    EXPECT_EQ(path_of(version, query).path, known ? CallPath::symmetric : CallPath::refused);
    query.input_in_window = false;
    EXPECT_EQ(path_of(version, query).path, CallPath::refused);
    if (known) {
      EXPECT_THAT(path_of(version, query).reason, HasSubstr("NCCL_LOCAL_REGISTER=0"));
    }
    query.registers_operands = false;
    EXPECT_EQ(path_of(version, query).path, CallPath::plain);
  }
}

TEST(NcclPath, is_none_in_windows_for_what_symmetric_kernels_get_wrong) {
  for (const bool by_parts : {false, true}) {
    PathQuery query = query_in_windows(Op::all_gather, DType::u8);
    (by_parts ? query.whole_parts : query.aligned) = false;
    for (const Version version : {k28, k29, k29Late, k30, k30Late}) {
      query.input_in_window = query.output_in_window = true;
      EXPECT_EQ(path_of(version, query).path, CallPath::refused);
      EXPECT_THAT(path_of(version, query).reason, HasSubstr("multiple of 4 bytes"));
      query.input_in_window = false;
      EXPECT_EQ(path_of(version, query).path, CallPath::refused);
      query.output_in_window = false;
      EXPECT_EQ(path_of(version, query).path, CallPath::plain);
    }
    query = query_in_windows(Op::broadcast, DType::u8);
    (by_parts ? query.whole_parts : query.aligned) = false;
    EXPECT_EQ(path_of(k28, query).path, CallPath::plain);
  }
}

TEST(NcclPath, refuses_what_nccl_does_not_have) {
  for (const Op op :
       {Op::all_gatherv, Op::reduce_scatterv, Op::all_to_allv, Op::barrier, Op::send, Op::recv}) {
    EXPECT_EQ(path_of(k30Late, query_in_windows(op)).path, CallPath::refused) << to_string(op);
  }
  PathQuery alone = query_in_windows(Op::all_gather);
  alone.members = 1;
  EXPECT_EQ(path_of(k30Late, alone).path, CallPath::refused);
}

TEST(NcclPath, is_plain_across_hosts_without_nvlink_and_from_64_gib) {
  PathQuery query = query_in_windows(Op::all_gather);
  query.bytes = (std::uint64_t{64} << 30) - 1;
  EXPECT_EQ(path_of(k28, query).path, CallPath::symmetric);
  query.bytes += 1;
  EXPECT_EQ(path_of(k28, query).path, CallPath::plain);
  query = query_in_windows(Op::all_gather);
  query.one_host = false;
  EXPECT_EQ(path_of(k28, query).path, CallPath::plain);
  query.one_host = true;
  query.nvlink = false;
  EXPECT_EQ(path_of(k28, query).path, CallPath::plain);
}

NcclFacts facts_of(Version version) {
  NcclFacts facts;
  facts.version = version;
  facts.path = "/lib/libnccl.so.2";
  facts.has_all_to_all = true;
  facts.device = "0000:1b:00.0";
  return facts;
}

TEST(NcclSurvey, travels_whole) {
  NcclFacts facts = facts_of(k28);
  facts.missing = "no NCCL";
  facts.windows_off = "switched off";
  facts.registers_operands = true;
  const std::vector<std::byte> bytes = facts.encode();
  const NcclFacts read = NcclFacts::decode(bytes);
  EXPECT_EQ(read.missing, facts.missing);
  EXPECT_EQ(read.version, facts.version);
  EXPECT_EQ(read.path, facts.path);
  EXPECT_EQ(read.windows_off, facts.windows_off);
  EXPECT_EQ(read.has_all_to_all, facts.has_all_to_all);
  EXPECT_EQ(read.registers_operands, facts.registers_operands);
  EXPECT_EQ(read.device, facts.device);
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_THROW((void)NcclFacts::decode(std::span(bytes).first(size)), Error);
  }
}

TEST(NcclSurvey, takes_the_least_of_all_ranks) {
  std::vector<NcclFacts> facts(3, facts_of(k28));
  EXPECT_THAT(agree_on_nccl(facts).refusal, IsEmpty());
  EXPECT_THAT(agree_on_nccl(facts).windows_refusal, IsEmpty());
  EXPECT_EQ(agree_on_nccl(facts).version, k28);

  facts[2].windows_off = "NCCL_WIN_ENABLE=0 switches windows off";
  facts[1].has_all_to_all = false;
  EXPECT_THAT(agree_on_nccl(facts).refusal, IsEmpty());
  EXPECT_EQ(agree_on_nccl(facts).windows_refusal, "rank 2: NCCL_WIN_ENABLE=0 switches windows off");
  EXPECT_FALSE(agree_on_nccl(facts).has_all_to_all);
  EXPECT_FALSE(agree_on_nccl(facts).registers_operands);
  facts[2].registers_operands = true;
  EXPECT_TRUE(agree_on_nccl(facts).registers_operands);

  facts[1] = facts_of(k29);
  EXPECT_THAT(agree_on_nccl(facts).refusal, HasSubstr("rank 1 has 2.29.2"));
  facts[1].missing = "no NCCL here";
  EXPECT_EQ(agree_on_nccl(facts).refusal, "rank 1: no NCCL here");

  const std::vector<NcclFacts> old(2, facts_of(kOld));
  EXPECT_THAT(agree_on_nccl(old).refusal, HasSubstr("before 2.28.3"));
  const std::vector<NcclFacts> later(2, facts_of(kUnknown));
  EXPECT_THAT(agree_on_nccl(later).refusal, IsEmpty());
  EXPECT_THAT(agree_on_nccl(later).windows_refusal, Not(IsEmpty()));
}

TEST(NcclSurvey, wants_a_device_for_each_member) {
  std::vector<NcclFacts> facts(3, facts_of(k28));
  facts[1].device = "0000:2b:00.0";
  const std::vector<WorldRank> fine = {WorldRank{0}, WorldRank{1}};
  const std::vector<WorldRank> shared = {WorldRank{1}, WorldRank{0}, WorldRank{2}};
  const std::vector<WorldRank> alone = {WorldRank{0}};
  EXPECT_THAT(refusal_of_group(facts, fine), IsEmpty());
  EXPECT_THAT(refusal_of_group(facts, shared), HasSubstr("ranks 0 and 2 are on one device"));
  EXPECT_THAT(refusal_of_group(facts, alone), Not(IsEmpty()));
}

}  // namespace
}  // namespace cohort::cuda::nccl
