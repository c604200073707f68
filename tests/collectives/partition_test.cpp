#include "collectives/partition.hpp"

#include <gtest/gtest.h>

namespace cohort::collectives {
namespace {

TEST(Partition, PartsCoverEveryElementOnceInOrder) {
  for (const std::size_t element : {2U, 4U, 8U}) {
    for (std::size_t parts = 1; parts <= 9; ++parts) {
      for (std::size_t elements = 0; elements < 400; ++elements) {
        std::size_t end = 0;
        for (std::size_t i = 0; i < parts; ++i) {
          const Part part = part_of(elements, parts, i, element);
          ASSERT_EQ(part.begin, end);
          end = part.begin + part.count;
        }
        ASSERT_EQ(end, elements);
      }
    }
  }
}

TEST(Partition, NoTwoPartsShareACacheLineAndNoneIsALineLargerThanAnother) {
  for (std::size_t parts = 1; parts <= 9; ++parts) {
    for (std::size_t elements = 1; elements < 3000; elements += 7) {
      std::size_t smallest = elements;
      std::size_t largest = 0;
      for (std::size_t i = 0; i < parts; ++i) {
        const Part part = part_of(elements, parts, i, 4);
        if (part.count != 0) {
          EXPECT_EQ(part.begin % 16, 0U);
        }
        smallest = std::min(smallest, part.count);
        largest = std::max(largest, part.count);
      }
      EXPECT_LE(largest, smallest + 31);  // a whole line and a cut one
    }
  }
}

TEST(Partition, TwoRanksAlwaysReadWholeOperandsAndMoreOnlySmallOnes) {
  for (std::size_t bytes = 0; bytes < (1U << 22); bytes += 4099)
    EXPECT_TRUE(reduces_whole(2, bytes));
  for (std::size_t ranks = 3; ranks <= 16; ++ranks) {
    EXPECT_TRUE(reduces_whole(ranks, 4096));
    EXPECT_FALSE(reduces_whole(ranks, 1U << 20));
    for (std::size_t bytes = 0; bytes < (1U << 20); bytes += 4096) {
      // More of either never makes whole operands the choice again.
      if (reduces_whole(ranks, bytes)) continue;
      EXPECT_FALSE(reduces_whole(ranks, bytes + 4096));
      EXPECT_FALSE(reduces_whole(ranks + 1, bytes));
    }
  }
}

}  // namespace
}  // namespace cohort::collectives
