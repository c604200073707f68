#include "base/hash.hpp"

#include <array>

#include <gtest/gtest.h>

#include <cohort/dtype.hpp>

namespace cohort {
namespace {

TEST(Hash, IsTheXxh3OfTheStandard) {
  EXPECT_EQ(hash_bytes({}), 0x2D06800538D394C2u);
  EXPECT_NE(hash_bytes({}, 1), hash_bytes({}));
}

TEST(Hash, DependsOnOrderAndBoundariesOfValues) {
  const auto digest = [](auto... values) {
    Hasher hasher;
    (hasher.add(values), ...);
    return hasher.digest();
  };
  using std::string_view;
  EXPECT_EQ(digest(1, 2), digest(std::uint8_t{1}, std::int64_t{2}));
  EXPECT_NE(digest(1, 2), digest(2, 1));
  EXPECT_NE(digest(1), digest(1, 0));
  EXPECT_NE(digest(string_view("ab"), string_view("c")),
            digest(string_view("a"), string_view("bc")));
  EXPECT_NE(digest(DType::f32), digest(DType::bf16));
}

TEST(Hash, DependsOnTheSeed) {
  EXPECT_NE(Hasher(1).add(7).digest(), Hasher(2).add(7).digest());
}

}  // namespace
}  // namespace cohort
