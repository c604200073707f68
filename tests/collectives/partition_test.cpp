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

}  // namespace
}  // namespace cohort::collectives
