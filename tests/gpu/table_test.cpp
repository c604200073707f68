// The functions of the plugin's table that copy pieces and make graphs, against what the host does.

#include <array>
#include <chrono>
#include <cstring>
#include <numeric>
#include <random>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "gpu/rank_gpu.hpp"
#include "support/subprocess.hpp"

namespace cohort::cuda {
namespace {

using namespace std::chrono_literals;
using test::GpuBlock;
using test::RankGpu;
using Bytes = std::vector<std::byte>;

bool is_ok(const Status& status) {
  return status.code == Status::Code::ok;
}

Bytes random_bytes(std::size_t bytes, std::mt19937_64& random) {
  Bytes content(bytes);
  for (std::byte& byte : content) byte = static_cast<std::byte>(random());
  return content;
}

/// A piece in offsets of two buffers instead of addresses.
struct Piece {
  std::size_t to = 0;
  std::size_t from = 0;
  std::size_t rows = 1;
  std::size_t row_bytes = 0;
  std::size_t to_stride = 0;
  std::size_t from_stride = 0;
  bool zero = false;
};

void copy_on_host(Bytes& to, const Bytes& from, const Piece& piece) {
  for (std::size_t row = 0; row < piece.rows && piece.row_bytes != 0; ++row) {
    std::byte* const begin = to.data() + piece.to + row * piece.to_stride;
    if (piece.zero) {
      std::memset(begin, 0, piece.row_bytes);
    } else {
      std::memcpy(begin, from.data() + piece.from + row * piece.from_stride, piece.row_bytes);
    }
  }
}

class GpuTable : public testing::Test {
 protected:
  static constexpr std::size_t kBytes = std::size_t{4} << 20;

  void SetUp() override {
    std::string missing;
    api_ = test::find_session_devices(1, missing);
    if (api_ == nullptr) GTEST_SKIP() << missing;
    gpu_ = std::make_unique<RankGpu>(*api_, WorldRank{0}, 2);
    from_ = &gpu_->allocate(kBytes);
    to_ = &gpu_->allocate(kBytes);
    source_ = random_bytes(kBytes, random_);
    gpu_->write(from_->data(), source_);
    renew();
  }

  void TearDown() override {
    if (gpu_ != nullptr) {
      EXPECT_TRUE(gpu_->is_intact()) << "stored beside the buffers";
    }
  }

  /// New content where pieces go to.
  void renew() {
    expected_ = random_bytes(kBytes, random_);
    gpu_->write(to_->data(), expected_);
  }

  CopyPiece on_device(const Piece& piece) const {
    return {.to = OpenDevice::host(to_->data()) + piece.to,
            .from = piece.zero ? 0 : OpenDevice::host(from_->data()) + piece.from,
            .rows = piece.rows,
            .row_bytes = piece.row_bytes,
            .to_stride = piece.to_stride,
            .from_stride = piece.from_stride};
  }

  Status put(std::span<const Piece> pieces, Stream stream) const {
    std::vector<CopyPiece> on_device;
    for (const Piece& piece : pieces) on_device.push_back(this->on_device(piece));
    return api_->copy_pieces(gpu_->device()->handle(), on_device.data(),
                             static_cast<std::uint32_t>(on_device.size()), stream.handle);
  }

  void expect_copied() const {
    gpu_->await(gpu_->stream());
    const Bytes got = gpu_->read(to_->data(), kBytes);
    const auto differs = std::ranges::mismatch(got, expected_).in1;
    ASSERT_TRUE(got == expected_) << "byte " << differs - got.begin();
    ASSERT_TRUE(gpu_->read(from_->data(), kBytes) == source_) << "the source changed";
  }

  /// One launch for each kCopyPiecesMax pieces, all looked at together.
  void copy_and_compare(const std::vector<Piece>& pieces) {
    for (std::size_t first = 0; first < pieces.size(); first += kCopyPiecesMax) {
      const std::size_t count = std::min<std::size_t>(kCopyPiecesMax, pieces.size() - first);
      const Status status = put(std::span(pieces).subspan(first, count), gpu_->stream());
      ASSERT_TRUE(is_ok(status)) << status.text;
    }
    for (const Piece& piece : pieces) copy_on_host(expected_, source_, piece);
    expect_copied();
  }

  const Api* api_ = nullptr;
  std::mt19937_64 random_{5};
  std::unique_ptr<RankGpu> gpu_;
  GpuBlock* from_ = nullptr;
  GpuBlock* to_ = nullptr;
  Bytes source_;
  Bytes expected_;
};

// --- pieces
// ---------------------------------------------------------------------------------------

TEST_F(GpuTable, CopiesPiecesOfAnyAlignment) {
  for (const std::size_t bytes : {0U, 1U, 2U, 3U, 7U, 8U, 15U, 16U, 17U, 31U, 255U, 4097U}) {
    std::vector<Piece> pieces;
    std::size_t cell = 0;
    for (std::size_t to = 0; to < 16; ++to) {
      for (std::size_t from = 0; from < 16; ++from, cell += 4160) {
        pieces.push_back({.to = cell + to,
                          .from = cell + from,
                          .row_bytes = bytes,
                          .zero = (to + from) % 7 == 6});
      }
    }
    SCOPED_TRACE(std::to_string(bytes) + " bytes");
    copy_and_compare(pieces);
    if (HasFatalFailure()) return;
    renew();
  }
}

TEST_F(GpuTable, CopiesRowsOfAnyStride) {
  std::vector<Piece> pieces;
  std::size_t cell = 0;
  for (const std::size_t rows : {0U, 1U, 2U, 5U, 37U}) {
    for (const std::size_t bytes : {1U, 2U, 6U, 16U, 30U, 64U, 100U}) {
      for (const std::size_t gap : {0U, 1U, 2U, 8U, 16U, 20U}) {
        // Rows that lie one upon the other are fine to read from.
        for (const std::size_t from_stride : {std::size_t{0}, bytes / 2, bytes, bytes + 16}) {
          pieces.push_back({.to = cell + gap % 3,
                            .from = cell / 2 + rows % 5,
                            .rows = rows,
                            .row_bytes = bytes,
                            .to_stride = bytes + gap,
                            .from_stride = from_stride,
                            .zero = pieces.size() % 9 == 8});
          cell += rows * (bytes + gap) + 16;
        }
      }
    }
  }
  ASSERT_LT(cell, kBytes - 8192);
  std::ranges::shuffle(pieces, random_);
  copy_and_compare(pieces);
}

// More than all thread blocks do in one turn: byte by byte, and of a few large pieces.
TEST_F(GpuTable, CopiesLargePieces) {
  copy_and_compare({{.to = 1, .from = 2, .row_bytes = 3'000'001}});
  renew();
  copy_and_compare({{.to = 0, .from = 16, .row_bytes = 1'500'000},
                    {.to = 1'500'000, .row_bytes = 500'000, .zero = true},
                    {.to = 2'000'000,
                     .from = 0,
                     .rows = 1000,
                     .row_bytes = 1024,
                     .to_stride = 1040,
                     .from_stride = 4096}});
}

TEST_F(GpuTable, CopiesNothingForNoPieces) {
  ASSERT_TRUE(is_ok(put({}, gpu_->stream())));
  copy_and_compare(std::vector<Piece>(kCopyPiecesMax, Piece{.rows = 0, .row_bytes = 16}));
}

TEST_F(GpuTable, RefusesMorePiecesThanFit) {
  std::vector<Piece> pieces(kCopyPiecesMax + 1);
  for (std::size_t i = 0; i < pieces.size(); ++i) pieces[i] = {.to = i * 64, .row_bytes = 64};
  const Status status = put(pieces, gpu_->stream());
  EXPECT_EQ(status.code, Status::Code::usage);
  EXPECT_THAT(status.text, testing::HasSubstr("49 pieces to copy in one launch"));
  expect_copied();
}

// --- graphs
// ---------------------------------------------------------------------------------------

class GpuGraphs : public GpuTable {
 protected:
  static constexpr Piece kFirst{.to = 64, .from = 3, .row_bytes = 100'000};
  static constexpr Piece kSecond{.to = 64, .from = 500'000, .row_bytes = 90'000};

  GraphHandle capture(const std::vector<Piece>& pieces) {
    Device* const device = gpu_->device()->handle();
    EXPECT_TRUE(is_ok(api_->begin_capture(device, gpu_->stream().handle)));
    EXPECT_TRUE(gpu_->device()->is_capturing(gpu_->stream().handle));
    for (const Piece& piece : pieces) EXPECT_TRUE(is_ok(put({&piece, 1}, gpu_->stream())));
    GraphHandle graph = nullptr;
    const Status status = api_->end_capture(device, gpu_->stream().handle, &graph);
    EXPECT_TRUE(is_ok(status)) << status.text;
    EXPECT_FALSE(gpu_->device()->is_capturing(gpu_->stream().handle));
    return graph;
  }
  void replay(GraphHandle graph) const {
    const Status status =
        api_->launch_graph(gpu_->device()->handle(), graph, gpu_->stream().handle);
    ASSERT_TRUE(is_ok(status)) << status.text;
  }
};

TEST_F(GpuGraphs, DoWhatWasCapturedWheneverTheyAreLaunched) {
  // In order: the second one overwrites most of the first.
  const GraphHandle both = capture({kFirst, kSecond});
  const GraphHandle first = capture({kFirst});
  expect_copied();  // nothing has been copied so far
  for (int turn = 0; turn < 50; ++turn) {
    if (turn % 10 == 9) {  // other content at the same place
      source_ = random_bytes(kBytes, random_);
      gpu_->write(from_->data(), source_);
    }
    const bool is_first = random_() % 2 == 0;
    replay(is_first ? first : both);
    copy_on_host(expected_, source_, kFirst);
    if (!is_first) copy_on_host(expected_, source_, kSecond);
    expect_copied();
    if (HasFatalFailure()) break;
  }
  for (const GraphHandle graph : {both, first}) {
    api_->destroy_graph(gpu_->device()->handle(), graph);
  }
}

TEST_F(GpuGraphs, RunInTheStreamThatTheyAreLaunchedInto) {
  const GraphHandle graph = capture({kFirst});
  for (int turn = 0; turn < 20; ++turn) {
    // What comes before and behind it in the stream keeps its place.
    const Piece before{.to = 0, .row_bytes = 200'000, .zero = true};
    const Piece behind{.to = 64, .from = 9, .row_bytes = 50'000};
    ASSERT_TRUE(is_ok(put({&before, 1}, gpu_->stream())));
    replay(graph);
    ASSERT_TRUE(is_ok(put({&behind, 1}, gpu_->stream())));
    for (const Piece& piece : {before, kFirst, behind}) copy_on_host(expected_, source_, piece);
    expect_copied();
    if (HasFatalFailure()) break;
    renew();
  }
  api_->destroy_graph(gpu_->device()->handle(), graph);
}

TEST_F(GpuGraphs, HoldNoPokeThatComesWhileTheyAreCaptured) {
  Device* const device = gpu_->device()->handle();
  constexpr std::size_t kWord = 2'000'000;
  const auto word = [&] {
    std::uint32_t seen = 0;
    std::memcpy(&seen, gpu_->read(to_->data() + kWord, sizeof seen).data(), sizeof seen);
    return seen;
  };
  ASSERT_TRUE(is_ok(api_->begin_capture(device, gpu_->stream().handle)));
  ASSERT_TRUE(is_ok(put({&kFirst, 1}, gpu_->stream())));
  gpu_->device()->poke(OpenDevice::host(to_->data()) + kWord, 0x12345678);
  // At once, not with the graph; and the capture goes on.
  const auto until = std::chrono::steady_clock::now() + test::patience(20s);
  while (word() != 0x12345678 && std::chrono::steady_clock::now() < until) {
    std::this_thread::sleep_for(100us);
  }
  EXPECT_EQ(word(), 0x12345678U);
  EXPECT_TRUE(gpu_->device()->is_capturing(gpu_->stream().handle));
  GraphHandle graph = nullptr;
  const Status status = api_->end_capture(device, gpu_->stream().handle, &graph);
  ASSERT_TRUE(is_ok(status)) << status.text;
  renew();
  replay(graph);
  copy_on_host(expected_, source_, kFirst);
  expect_copied();  // the word as it was
  api_->destroy_graph(device, graph);
}

TEST_F(GpuGraphs, AreMadeInOneStreamWhileAnotherRuns) {
  ASSERT_TRUE(is_ok(api_->begin_capture(gpu_->device()->handle(), gpu_->stream(1).handle)));
  EXPECT_FALSE(gpu_->device()->is_capturing(gpu_->stream(0).handle));
  copy_and_compare({kFirst});
  GraphHandle graph = nullptr;
  const Status status = api_->end_capture(gpu_->device()->handle(), gpu_->stream(1).handle, &graph);
  ASSERT_TRUE(is_ok(status)) << status.text;
  replay(graph);  // of nothing
  expect_copied();
  api_->destroy_graph(gpu_->device()->handle(), graph);
}

}  // namespace
}  // namespace cohort::cuda
