#include "nearest.hpp"

#include <array>

#include <gtest/gtest.h>

namespace cohort {
namespace {

const std::array<std::string, 4> kWords{"groups", "generate", "--attn-dp", "--attn-cp"};

TEST(Nearest, FindsTheWordWithFewestEdits) {
  EXPECT_EQ(nearest("grups", kWords), "groups");
  EXPECT_EQ(nearest("genrate", kWords), "generate");
  EXPECT_EQ(nearest("--attn-c", kWords), "--attn-cp");
  EXPECT_EQ(nearest("groups", kWords), "groups");
}

TEST(Nearest, TheFirstOfEquallyNearWordsWins) {
  EXPECT_EQ(nearest("--attn-p", kWords), "--attn-dp");
}

TEST(Nearest, NothingIsNearWhenTooMuchDiffers) {
  EXPECT_EQ(nearest("frobnicate", kWords), std::nullopt);
  EXPECT_EQ(nearest("", kWords), std::nullopt);
  EXPECT_EQ(nearest("groups", {}), std::nullopt);
}

}  // namespace
}  // namespace cohort
