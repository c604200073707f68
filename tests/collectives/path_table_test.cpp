#include "collectives/path_table.hpp"

#include <array>

#include <gtest/gtest.h>

#include "heap/arena_layout.hpp"

namespace cohort::collectives {
namespace {

constexpr std::array kOps = {
    Op::all_reduce,      Op::all_gather, Op::all_gatherv, Op::reduce_scatter,
    Op::reduce_scatterv, Op::broadcast,  Op::barrier,     Op::all_to_all,
    Op::all_to_allv,     Op::send,       Op::recv};

TEST(PathTable, OneRankStaysLocal) {
  for (const Op op : kOps) {
    EXPECT_EQ(choose_path({1, Symmetry::on, op, 1 << 20}),
              (PathChoice{Path::local, Reason::group_size_one}));
    EXPECT_EQ(choose_path({1, Symmetry::off, op, 0}),
              (PathChoice{Path::local, Reason::group_size_one}));
  }
}

TEST(PathTable, WithoutSymmetryEverythingIsStaged) {
  for (const Op op : kOps) {
    for (const std::size_t bytes : {0U, 1U, 1U << 20}) {
      EXPECT_EQ(choose_path({2, Symmetry::off, op, bytes}),
                (PathChoice{Path::host_staged, Reason::disabled}));
    }
  }
}

TEST(PathTable, SmallOperandsRideWithTheHeader) {
  for (const Op op : kOps) {
    const std::size_t limit = inline_bytes_max(op);
    EXPECT_LE(limit, heap::kInlineBytesMax);
    EXPECT_EQ(choose_path({3, Symmetry::on, op, limit}).path, Path::host_inline);
    EXPECT_EQ(choose_path({3, Symmetry::on, op, limit + 1}).path, Path::host_direct);
    EXPECT_EQ(choose_path({3, Symmetry::on, op, limit + 1}).reason, Reason::ok);
  }
}

TEST(PathTable, SaysWhichTypesHaveNoReduction) {
  for (const Op op : kOps) {
    for (const DType dtype : all_dtypes()) {
      const bool reduction =
          op == Op::all_reduce || op == Op::reduce_scatter || op == Op::reduce_scatterv;
      const bool refused = reduction && dtype == DType::f8e4m3;
      for (const std::uint32_t size : {1U, 4U}) {
        for (const Symmetry symmetry : {Symmetry::on, Symmetry::off}) {
          const Reason reason = choose_path({size, symmetry, op, 64, dtype}).reason;
          EXPECT_EQ(reason == Reason::dtype_unsupported, refused);
        }
      }
    }
  }
}

}  // namespace
}  // namespace cohort::collectives
