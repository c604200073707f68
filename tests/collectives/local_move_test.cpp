#include "collectives/local_move.hpp"

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <cohort/error.hpp>

#include "collectives/cuda/device_moves.hpp"
#include "support/fake_cuda.hpp"

namespace cohort {
namespace {

constexpr std::size_t kBytes = 4096;
constexpr std::size_t kSpare = 64;
using Bytes = std::vector<std::uint8_t>;

/// Rectangles side by side in `to`, from anywhere in `from`.
std::vector<LocalMove> random_moves(std::mt19937& random, Bytes& to, const Bytes& from) {
  std::vector<LocalMove> moves;
  for (std::size_t at = 0; at < kBytes;) {
    const std::size_t left = kBytes - at;
    LocalMove move;
    move.rows = random() % 5;
    move.row_bytes = random() % std::min<std::size_t>(left / 8 + 1, 40);
    move.to_stride_bytes = move.row_bytes + random() % 3;
    move.from_stride_bytes = move.row_bytes + random() % 3;
    move.to = to.data() + at;
    const std::size_t span = move.rows * (move.row_bytes + 2);
    if (random() % 4 != 0) move.from = from.data() + random() % (kBytes - span + 1);
    moves.push_back(move);
    at += span + 1 + random() % 20;
  }
  return moves;
}

/// Byte by byte.
Bytes expected(const Bytes& before, const std::vector<LocalMove>& moves, const Bytes& to) {
  Bytes after = before;
  for (const LocalMove& move : moves) {
    const auto at = static_cast<std::size_t>(static_cast<const std::uint8_t*>(move.to) - to.data());
    for (std::size_t i = 0; i < move.rows * move.row_bytes; ++i) {
      const std::size_t row = i / move.row_bytes;
      const std::size_t column = i % move.row_bytes;
      after[at + row * move.to_stride_bytes + column] =
          move.from == nullptr
              ? std::uint8_t{0}
              : static_cast<const std::uint8_t*>(move.from)[row * move.from_stride_bytes + column];
    }
  }
  return after;
}

class LocalMoves : public testing::TestWithParam<bool> {
 protected:
  static void run(const std::vector<LocalMove>& moves) {
    if (GetParam()) {
      const auto device = cuda::OpenDevice::open(test::fake_cuda_api(), 0);
      cuda::move_on_device(*device, moves, nullptr);
    } else {
      collectives::check_moves(moves);
      collectives::move_on_host(moves);
    }
  }
};

TEST_P(LocalMoves, StoreWhatTheyNameAndNothingElse) {
  std::mt19937 random(5);
  Bytes from(kBytes + kSpare);
  for (std::uint8_t& byte : from) byte = static_cast<std::uint8_t>(random());
  bool needs_two_launches = false;
  for (int round = 0; round < 200; ++round) {
    Bytes to(kBytes + kSpare, 0xEE);
    const auto moves = random_moves(random, to, from);
    needs_two_launches |= moves.size() > cuda::kCopyPiecesMax;
    const Bytes wanted = expected(to, moves, to);
    run(moves);
    ASSERT_EQ(to, wanted) << "round " << round;
  }
  EXPECT_TRUE(needs_two_launches);
}

TEST_P(LocalMoves, AreRefusedWithoutAPlaceOrWithRowsOverEachOther) {
  Bytes bytes(64);
  const auto refusal = [&](const LocalMove& move) {
    try {
      run({LocalMove{}, move});
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::usage);
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_EQ(refusal({nullptr, bytes.data(), 1, 8, 0, 0}),
            "local move 1 has bytes but no place for them");
  EXPECT_EQ(refusal({bytes.data(), nullptr, 2, 8, 4, 0}),
            "local move 1 has rows of 8 bytes that are to lie 4 bytes apart");
  EXPECT_EQ(refusal({nullptr, nullptr, 0, 8, 0, 0}), "");
}

INSTANTIATE_TEST_SUITE_P(Memories, LocalMoves, testing::Bool(),
                         [](const auto& of) { return of.param ? "device" : "host"; });

TEST(DeviceMoves, AreKeptInAGraphAndRepeated) {
  Bytes from(16, 1);
  Bytes to(16, 0);
  const auto device = cuda::OpenDevice::open(test::fake_cuda_api(), 0);
  const cuda::Api& api = device->api();
  cuda::StreamHandle stream = nullptr;
  cuda::GraphHandle graph = nullptr;
  cuda::throw_unless_ok(api.create_stream(device->handle(), &stream), "");
  cuda::throw_unless_ok(api.begin_capture(device->handle(), stream), "");
  cuda::move_on_device(*device, std::vector<LocalMove>{{to.data(), from.data(), 1, 16, 0, 0}},
                       stream);
  cuda::throw_unless_ok(api.end_capture(device->handle(), stream, &graph), "");
  EXPECT_EQ(to, Bytes(16, 0));
  for (std::uint8_t value = 7; value < 9; ++value) {
    from.assign(16, value);
    cuda::throw_unless_ok(api.launch_graph(device->handle(), graph, stream), "");
    EXPECT_EQ(to, Bytes(16, value));
  }
  api.destroy_graph(device->handle(), graph);
  api.destroy_stream(device->handle(), stream);
}

}  // namespace
}  // namespace cohort
