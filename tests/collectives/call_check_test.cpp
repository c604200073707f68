#include "collectives/call_check.hpp"

#include <vector>

#include <gtest/gtest.h>

namespace cohort::collectives {
namespace {

constexpr std::uint32_t kSize = 3;
constexpr std::uint32_t kSelf = 1;

struct Scene {
  std::vector<float> in = std::vector<float>(64);
  std::vector<float> out = std::vector<float>(64);
  std::vector<std::size_t> counts = {4, 0, 5};
  Call call;

  Scene(Op op, std::size_t in_elements, std::size_t out_elements) {
    call.op = op;
    call.input = {in.data(), in_elements, DType::f32};
    call.output = {out.data(), out_elements, DType::f32};
    call.counts = counts;
  }
  std::string fault() const { return find_fault(call, kSize, kSelf).value_or("none"); }
};

TEST(CallCheck, AcceptsWhatFits) {
  EXPECT_EQ(Scene(Op::all_reduce, 5, 5).fault(), "none");
  EXPECT_EQ(Scene(Op::all_gather, 5, 15).fault(), "none");
  EXPECT_EQ(Scene(Op::reduce_scatter, 15, 5).fault(), "none");
  EXPECT_EQ(Scene(Op::all_gatherv, 0, 9).fault(), "none");
  EXPECT_EQ(Scene(Op::reduce_scatterv, 9, 0).fault(), "none");
  EXPECT_EQ(Scene(Op::all_gather, 0, 0).fault(), "none");
  EXPECT_EQ(Scene(Op::barrier, 1, 2).fault(), "none");
}

TEST(CallCheck, NamesTheSizeThatDoesNotFit) {
  EXPECT_EQ(Scene(Op::all_reduce, 5, 6).fault(), "output has 6 elements, the input is 5");
  EXPECT_EQ(Scene(Op::all_gather, 5, 10).fault(),
            "output has 10 elements, group size x input is 15");
  EXPECT_EQ(Scene(Op::reduce_scatter, 14, 5).fault(),
            "input has 14 elements, group size x output is 15");
  EXPECT_EQ(Scene(Op::all_gatherv, 1, 9).fault(), "input has 1 elements, this rank's count is 0");
  EXPECT_EQ(Scene(Op::reduce_scatterv, 8, 0).fault(),
            "input has 8 elements, the sum of counts is 9");
  Scene few(Op::all_gatherv, 0, 9);
  few.call.counts = few.call.counts.first(2);
  EXPECT_EQ(few.fault(), "counts has 2 entries for a group of 3");
}

TEST(CallCheck, TheMatrixOfAllToAllvGivesEveryRankItsRowAndColumn) {
  const std::vector<std::size_t> counts = {1, 2, 3, 4, 0, 6, 7, 8, 9};  // self is rank 1
  const auto scene = [&](std::size_t in, std::size_t out) {
    Scene made(Op::all_to_allv, in, out);
    made.call.counts = counts;
    return made;
  };
  EXPECT_EQ(scene(10, 10).fault(), "none");
  EXPECT_EQ(scene(9, 10).fault(),
            "input has 9 elements, the sum of this rank's row of counts is 10");
  EXPECT_EQ(scene(10, 11).fault(),
            "output has 11 elements, the sum of this rank's column of counts is 10");
  EXPECT_EQ(Scene(Op::all_to_allv, 0, 0).fault(),
            "counts has 3 entries for a group of 3, 9 wanted");
  const Scene whole = scene(10, 10);
  const Part part = sent_part(whole.call, kSize, 2, 1);
  EXPECT_EQ(part.begin, 7U);
  EXPECT_EQ(part.count, 8U);
  EXPECT_EQ(received_begin(whole.call, kSize, 2, kSelf), 2U);
}

TEST(CallCheck, AllToAllTakesEqualPartsAndNeverRunsInPlace) {
  EXPECT_EQ(Scene(Op::all_to_all, 9, 9).fault(), "none");
  EXPECT_EQ(Scene(Op::all_to_all, 0, 0).fault(), "none");
  EXPECT_EQ(Scene(Op::all_to_all, 8, 8).fault(),
            "input has 8 elements, which is no multiple of the group's size 3");
  EXPECT_EQ(Scene(Op::all_to_all, 9, 6).fault(), "output has 6 elements, the input is 9");
  Scene both(Op::all_to_all, 9, 9);
  both.call.output.data = both.in.data();
  EXPECT_EQ(both.fault(),
            "input and output overlap, and all_to_all has no in-place form; give it an output of "
            "its own");
  EXPECT_NE(find_fault(both.call, 1, 0).value_or("none"), "none");
  both.call.output.data = both.in.data() + 9;
  EXPECT_EQ(both.fault(), "none");
}

TEST(CallCheck, CountsBeyondAllMemoryAreRefused) {
  for (const Op op : {Op::all_gatherv, Op::reduce_scatterv}) {
    Scene huge(op, 4, 4);
    huge.counts = {std::size_t{1} << 63U, 4, std::size_t{1} << 63U};  // sum 4, wrapped around
    huge.call.counts = huge.counts;
    EXPECT_EQ(huge.fault(), "counts add up to more than memory");
    huge.counts = {std::size_t{1} << 62U, 4, 0};
    huge.call.counts = huge.counts;
    EXPECT_EQ(huge.fault(), "counts add up to more than memory");
  }
}

TEST(CallCheck, RefusesReductionsOfTypesThatHaveNone) {
  for (const Op op : {Op::all_reduce, Op::reduce_scatter, Op::reduce_scatterv, Op::all_gather,
                      Op::all_gatherv, Op::broadcast, Op::all_to_all}) {
    for (const DType dtype : all_dtypes()) {
      Scene scene(op, 0, 0);
      scene.counts = {0, 0, 0};
      scene.call.input.dtype = scene.call.output.dtype = dtype;
      const std::string wanted =
          is_reduction(op) && dtype == DType::f8e4m3
              ? "dtype_unsupported: there is no reduction of f8e4m3; elements of this type are "
                "moved but never reduced; convert them first"
              : "none";
      EXPECT_EQ(scene.fault(), wanted) << to_string(op) << ", " << to_string(dtype);
    }
  }
}

TEST(CallCheck, NamesOtherFaults) {
  Scene types(Op::all_reduce, 5, 5);
  types.call.output.dtype = DType::i32;
  EXPECT_EQ(types.fault(), "input is f32, output is i32");
  Scene null(Op::all_reduce, 5, 5);
  null.call.input.data = nullptr;
  EXPECT_EQ(null.fault(), "input is null");
  Scene root(Op::broadcast, 5, 5);
  root.call.root = GroupRank{3};
  EXPECT_EQ(root.fault(), "root 3 in a group of 3");
}

TEST(CallCheck, OverlapIsFineOnlyInPlace) {
  Scene reduce(Op::all_reduce, 5, 5);
  reduce.call.output.data = reduce.in.data();
  EXPECT_EQ(reduce.fault(), "none");
  reduce.call.output.data = reduce.in.data() + 2;
  EXPECT_NE(reduce.fault(), "none");
  reduce.call.output.data = reduce.in.data() + 5;
  EXPECT_EQ(reduce.fault(), "none");

  Scene gather(Op::all_gather, 4, 12);
  gather.call.input.data = gather.out.data() + 4;  // rank 1's own part
  EXPECT_EQ(gather.fault(), "none");
  gather.call.input.data = gather.out.data();
  EXPECT_NE(gather.fault(), "none");

  Scene scatter(Op::reduce_scatter, 12, 4);
  scatter.call.output.data = scatter.in.data() + 4;
  EXPECT_EQ(scatter.fault(), "none");
  scatter.call.output.data = scatter.in.data() + 8;
  EXPECT_NE(scatter.fault(), "none");
}

}  // namespace
}  // namespace cohort::collectives
