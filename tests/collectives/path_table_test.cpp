#include "collectives/path_table.hpp"

#include <array>

#include <gtest/gtest.h>

namespace cohort::collectives {
namespace {

constexpr std::array kOps = {
    Op::all_reduce,      Op::all_gather, Op::all_gatherv, Op::reduce_scatter,
    Op::reduce_scatterv, Op::broadcast,  Op::barrier,     Op::all_to_all,
    Op::all_to_allv,     Op::send,       Op::recv};

const PathTable kTable;

TEST(ChoosePath, OneRankStaysLocal) {
  for (const Op op : kOps) {
    EXPECT_EQ(choose_path(kTable, {1, Symmetry::on, op, 1 << 20}),
              (PathChoice{Path::local, Reason::group_size_one}));
    EXPECT_EQ(choose_path(kTable, {1, Symmetry::off, op, 0}),
              (PathChoice{Path::local, Reason::group_size_one}));
  }
}

TEST(ChoosePath, WithoutSymmetryEverythingIsStaged) {
  for (const Op op : kOps) {
    for (const std::size_t bytes : {0U, 1U, 1U << 20}) {
      EXPECT_EQ(choose_path(kTable, {2, Symmetry::off, op, bytes}),
                (PathChoice{Path::host_staged, Reason::disabled}));
    }
  }
}

TEST(ChoosePath, TheTableDecidesWhereThereIsAChoice) {
  const PathTable staged = PathTable::pinned(Path::host_staged);
  for (const Op op : kOps) {
    for (const bool crowded : {false, true}) {
      for (const std::size_t bytes : {0UL, 1024UL, 1025UL, 4096UL, 4097UL, 1UL << 30U}) {
        const PathInputs inputs{3, Symmetry::on, op, bytes, DType::u8, Reason::ok, crowded};
        EXPECT_EQ(choose_path(kTable, inputs), kTable.choose(op, 3, crowded, bytes));
        EXPECT_EQ(choose_path(staged, inputs), (PathChoice{Path::host_staged, Reason::ok}));
      }
    }
  }
}

TEST(ChoosePath, SaysWhichTypesHaveNoReduction) {
  for (const Op op : kOps) {
    for (const DType dtype : all_dtypes()) {
      const bool reduction =
          op == Op::all_reduce || op == Op::reduce_scatter || op == Op::reduce_scatterv;
      const bool refused = reduction && dtype == DType::f8e4m3;
      for (const std::uint32_t size : {1U, 4U}) {
        for (const Symmetry symmetry : {Symmetry::on, Symmetry::off}) {
          const Reason reason = choose_path(kTable, {size, symmetry, op, 64, dtype}).reason;
          EXPECT_EQ(reason == Reason::dtype_unsupported, refused);
        }
      }
    }
  }
}

}  // namespace
}  // namespace cohort::collectives
