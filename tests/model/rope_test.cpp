#include "model/rope.hpp"

#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "model/element.hpp"

namespace cohort {
namespace {

TEST(Rope, PositionZeroTurnsNothing) {
  const Rope rope(8, 10000, 4);
  std::vector<float> heads = {1, 2, 3, 4, 5, 6, 7, 8};
  const auto before = heads;
  rope.rotate(heads.data(), 1, 0);
  EXPECT_EQ(heads, before);
}

TEST(Rope, TurnsPairsHalfAHeadApart) {
  const Rope rope(4, 100, 50);
  std::vector<float> heads = {1, 2, 3, 4, -1, 0, 0.5F, 2};
  const auto before = heads;
  const double position = 37;
  rope.rotate(heads.data(), 2, 37);
  for (std::size_t head = 0; head < 2; ++head) {
    for (std::size_t i = 0; i < 2; ++i) {
      const double angle = position / std::pow(100.0, static_cast<double>(i) / 2);
      const auto a = static_cast<double>(before[head * 4 + i]);
      const auto b = static_cast<double>(before[head * 4 + i + 2]);
      EXPECT_NEAR(heads[head * 4 + i], a * std::cos(angle) - b * std::sin(angle), 1e-5);
      EXPECT_NEAR(heads[head * 4 + i + 2], b * std::cos(angle) + a * std::sin(angle), 1e-5);
    }
  }
}

TEST(Rope, ScoresDependOnTheDistanceOnly) {
  const Rope rope(16, 10000, 600);
  const auto score = [&](std::size_t query_position, std::size_t key_position) {
    std::vector<float> query(16);
    std::vector<float> key(16);
    for (std::size_t i = 0; i < 16; ++i) {
      query[i] = static_cast<float>(i) - 5;
      key[i] = static_cast<float>(i * i % 7) - 3;
    }
    rope.rotate(query.data(), 1, query_position);
    rope.rotate(key.data(), 1, key_position);
    float sum = 0;
    for (std::size_t i = 0; i < 16; ++i) sum += query[i] * key[i];
    return sum;
  };
  EXPECT_NEAR(score(20, 3), score(517, 500), 1e-2F);
  EXPECT_GT(std::abs(score(20, 3) - score(20, 4)), 1e-2F);
}

TEST(Rope, Bf16IsTheRoundedRotation) {
  const Rope rope(8, 10000, 10);
  std::vector<Bf16> heads(8);
  std::vector<float> exact(8);
  for (std::size_t i = 0; i < 8; ++i) {
    heads[i] = from_f32<Bf16>(static_cast<float>(i) * 0.37F - 1);
    exact[i] = to_f32(heads[i]);
  }
  rope.rotate(heads.data(), 1, 9);
  rope.rotate(exact.data(), 1, 9);
  for (std::size_t i = 0; i < 8; ++i) {
    EXPECT_EQ(heads[i].bits, from_f32<Bf16>(exact[i]).bits);
  }
}

}  // namespace
}  // namespace cohort
