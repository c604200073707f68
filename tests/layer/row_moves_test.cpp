#include <cstring>
#include <random>

#include <gtest/gtest.h>

#include <cohort/error.hpp>
#include <cohort/local_move.hpp>

namespace cohort {
namespace {

constexpr std::size_t kWidth = 3;
using Values = std::vector<std::int32_t>;

Tensor tensor(Values& values) {
  return {values.data(), values.size(), DType::i32};
}

Values numbered(std::size_t rows) {
  Values values(rows * kWidth);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<std::int32_t>(i + 1);
  return values;
}

void run(const std::vector<LocalMove>& moves) {
  for (const LocalMove& move : moves) {
    ASSERT_EQ(move.rows, 1U);
    if (move.from == nullptr) {
      std::memset(move.to, 0, move.row_bytes);
    } else {
      std::memcpy(move.to, move.from, move.row_bytes);
    }
  }
}

TEST(RowMoves, MoveWhatTheCopiesSay) {
  std::mt19937 random(3);
  for (int round = 0; round < 300; ++round) {
    const std::size_t rows = 1 + random() % 12;
    Values from = numbered(rows);
    Values to(rows * kWidth, -1);
    Values wanted = to;
    std::vector<RowCopy> copies;
    for (std::size_t row = 0; row < rows;) {
      const std::size_t count = random() % (rows - row + 1);
      RowCopy copy{row, random() % (rows - count + 1), count};
      if (random() % 4 == 0) copy.from.reset();
      for (std::size_t i = 0; i < count * kWidth; ++i) {
        wanted[row * kWidth + i] = copy.from ? from[*copy.from * kWidth + i] : 0;
      }
      copies.push_back(copy);
      row += count + random() % 2;
    }
    ASSERT_NO_FATAL_FAILURE(run(row_moves(tensor(to), tensor(from), kWidth, copies)));
    ASSERT_EQ(to, wanted) << "round " << round;
  }
}

TEST(RowMoves, NeighboursAreOneMove) {
  Values from = numbered(8);
  Values to(8 * kWidth);
  const std::vector<RowCopy> copies = {
      {0, 2, 2}, {2, 4, 1}, {3, 0, 1}, {4, std::nullopt, 2}, {6, std::nullopt, 1}};
  const auto moves = row_moves(tensor(to), tensor(from), kWidth, copies);
  ASSERT_EQ(moves.size(), 3U);
  EXPECT_EQ(moves[0].row_bytes, 3 * kWidth * sizeof(std::int32_t));
  EXPECT_EQ(moves[1].from, from.data());
  EXPECT_EQ(moves[2], (LocalMove{to.data() + 4 * kWidth, nullptr, 1,
                                 3 * kWidth * sizeof(std::int32_t), 0, 0}));
}

TEST(RowMoves, NoRowsAreNoMoves) {
  Values none;
  EXPECT_TRUE(row_moves(tensor(none), tensor(none), kWidth, {}).empty());
  EXPECT_TRUE(
      row_moves(tensor(none), tensor(none), kWidth, std::vector<RowCopy>{{0, 0, 0}}).empty());
}

std::string refusal(const std::vector<RowCopy>& copies, std::size_t row_elements = kWidth) {
  Values from = numbered(4);
  Values to(2 * kWidth);
  try {
    (void)row_moves(tensor(to), tensor(from), row_elements, copies);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::usage);
    return error.what();
  }
  return "";
}

TEST(RowMoves, RefusesRowsPastTheEnd) {
  EXPECT_EQ(refusal({{0, 2, 2}}), "");
  EXPECT_EQ(refusal({{1, 0, 2}}), "rows 1 to 3 of a result with 2");
  EXPECT_EQ(refusal({{0, 3, 2}}), "rows 3 to 5 of an operand with 4");
  EXPECT_EQ(refusal({{3, std::nullopt, 0}}), "rows 3 to 3 of a result with 2");
  EXPECT_NE(refusal({{0, static_cast<std::size_t>(-1), 2}}), "");
  EXPECT_EQ(refusal({}, 0), "rows of no elements");
}

TEST(RowMoves, RefusesOperandsOfTwoTypes) {
  Values values = numbered(2);
  const ConstTensor floats{values.data(), values.size(), DType::f32};
  EXPECT_THROW((void)row_moves(tensor(values), floats, kWidth, {}), Error);
}

}  // namespace
}  // namespace cohort
