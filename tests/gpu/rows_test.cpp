// What sessions do with rows on a GPU, and what they do with them on host memory: the same bits.
// Moves, and norms behind sums, on the same operands in two sessions of the same ranks.

#include <cstring>
#include <deque>
#include <map>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cohort/cohort.hpp>

#include "base/bf16.hpp"
#include "base/f16.hpp"
#include "gpu/rank_gpu.hpp"
#include "gpu/rank_test.hpp"

namespace cohort {
namespace {

using test::ModeAndRanks;
using test::RankGpu;
using test::RankMode;
using Bytes = std::vector<std::byte>;

/// Operands of a session in host memory, in the words of RankGpu.
class RankHost {
 public:
  std::byte* allocate(std::size_t bytes) {
    blocks_.emplace_back(bytes + 64);
    auto address = reinterpret_cast<std::uintptr_t>(blocks_.back().data());
    return blocks_.back().data() + (64 - address % 64) % 64;
  }
  static void write(void* to, std::span<const std::byte> bytes) {
    if (!bytes.empty()) std::memcpy(to, bytes.data(), bytes.size());
  }
  static Bytes read(const void* from, std::size_t bytes) {
    const auto* const begin = static_cast<const std::byte*>(from);
    return {begin, begin + bytes};
  }
  static Group group(const Session& session) { return session.group(GroupKind::tp); }
  static Stream stream() { return {}; }
  static void finish(Session& /*session*/) {}

 private:
  std::deque<Bytes> blocks_;
};

class RankDevice {
 public:
  RankDevice(const cuda::Api& api, WorldRank rank) : gpu_(api, rank) {}
  std::byte* allocate(std::size_t bytes) { return gpu_.allocate(bytes).data(); }
  void write(void* to, std::span<const std::byte> bytes) const { gpu_.write(to, bytes); }
  Bytes read(const void* from, std::size_t bytes) const { return gpu_.read(from, bytes); }
  Group group(const Session& session) const {
    return session.group(GroupKind::tp).on(gpu_.stream());
  }
  Stream stream() const { return gpu_.stream(); }
  void finish(Session& session) const { session.wait(gpu_.stream()); }
  const RankGpu& gpu() const { return gpu_; }

 private:
  RankGpu gpu_;
};

Plan plan_of(std::uint32_t ranks, Memory memory, std::size_t bytes) {
  Plan plan(Layout{{.tp = ranks}}, {.memory = memory});
  for (const char* name : {"input", "output"}) {
    static_cast<void>(
        plan.slot(name, {.groups = {GroupKind::tp}, .rows_max = bytes / 4, .row_elements = 1}));
  }
  return plan;
}

// --- moves
// ----------------------------------------------------------------------------------------

constexpr std::size_t kMoveBytes = std::size_t{1} << 18;

struct Move {
  LocalMove shape;  // without addresses
  std::size_t to = 0;
  std::size_t from = 0;
  bool zero = false;
};

/// More than one launch takes, to places that do not overlap.
std::vector<Move> random_moves(std::mt19937& random) {
  std::vector<Move> moves;
  std::size_t to = 0;
  while (moves.size() < 150) {
    Move move;
    move.shape.rows = random() % 5;
    move.shape.row_bytes = random() % 3 == 0 ? 16 * (random() % 20) : random() % 200;
    move.shape.to_stride_bytes = move.shape.row_bytes + random() % 3 * 8;
    move.shape.from_stride_bytes = random() % 4 == 0 ? 0 : move.shape.row_bytes + random() % 2;
    move.to = to + random() % 3;
    move.from = random() % (kMoveBytes / 2);
    move.zero = random() % 6 == 0;
    to = move.to + move.shape.rows * move.shape.to_stride_bytes;
    moves.push_back(move);
  }
  return moves;
}

template <typename Place>
std::vector<LocalMove> placed(const std::vector<Move>& moves, std::byte* to,
                              const std::byte* from) {
  std::vector<LocalMove> placed;
  for (const Move& move : moves) {
    placed.push_back(move.shape);
    placed.back().to = to + move.to;
    placed.back().from = move.zero ? nullptr : from + move.from;
  }
  return placed;
}

template <typename Place>
std::vector<Bytes> move_on(World& world, Place& place, Memory memory,
                           const CommitOptions& options) {
  Session session = commit(world, plan_of(world.size(), memory, kMoveBytes), options);
  std::mt19937 random(world.rank().index());
  // From a slot to memory outside of the arena, and the other way.
  std::byte* const slot = session.take(SlotId{0}).template as<std::byte>();
  std::byte* const outside = place.allocate(kMoveBytes);
  std::vector<Bytes> results;
  for (int turn = 0; turn < 6; ++turn) {
    std::byte* const to = turn % 2 == 0 ? outside : slot;
    const std::byte* const from = turn % 2 == 0 ? slot : outside;
    for (std::byte* const memory_of : {slot, outside}) {
      Bytes content(kMoveBytes);
      for (std::byte& byte : content) byte = static_cast<std::byte>(random());
      place.write(memory_of, content);
    }
    session.move(placed<Place>(random_moves(random), to, from), place.stream());
    place.finish(session);
    results.push_back(place.read(slot, kMoveBytes));
    results.push_back(place.read(outside, kMoveBytes));
  }
  session.close();
  return results;
}

TEST(GpuMoves, DoWhatTheyDoOnHostMemory) {
  test::run_gpu_ranks(RankMode::threads, 2, [](World& world, const cuda::Api& api) {
    RankHost host;
    const std::vector<Bytes> wanted = move_on(world, host, Memory::host, {});
    RankDevice device(api, world.rank());
    const std::vector<Bytes> got =
        move_on(world, device, Memory::cuda, device.gpu().commit_options());
    for (std::size_t i = 0; i < wanted.size(); ++i) EXPECT_TRUE(got.at(i) == wanted[i]) << i;
    EXPECT_TRUE(device.gpu().is_intact());
  });
}

TEST(GpuMoves, AreCapturedAndKeepTheirOrderWithCalls) {
  test::run_gpu_ranks(RankMode::threads, 2, [](World& world, const cuda::Api& api) {
    RankDevice device(api, world.rank());
    const RankGpu& gpu = device.gpu();
    Session session = commit(world, plan_of(2, Memory::cuda, kMoveBytes), gpu.commit_options());
    const Group tp = device.group(session);
    const Tensor input = session.take(SlotId{0}).elements(1000);
    const Tensor output = session.take(SlotId{1}).elements(1000);
    auto* const staging = reinterpret_cast<float*>(device.allocate(4000));
    const std::array<LocalMove, 2> in{
        LocalMove{.to = input.data, .from = staging, .row_bytes = 2000},
        LocalMove{.to = static_cast<float*>(input.data) + 500, .row_bytes = 2000}};
    const std::array<LocalMove, 1> out{
        LocalMove{.to = staging, .from = output.data, .row_bytes = 4000}};
    const cuda::GraphHandle graph = gpu.capture([&] {
      session.move(in, gpu.stream());
      static_cast<void>(tp.all_reduce(input, output, ReduceOp::sum));
      session.move(out, gpu.stream());
    });
    const Tensor seen{staging, 1000, DType::f32};
    for (int turn = 1; turn <= 100; ++turn) {
      gpu.write_all(seen, std::vector<float>(1000, static_cast<float>(turn)));
      gpu.launch(graph);
      session.wait(gpu.stream());
      std::vector<float> wanted(1000, 0);
      std::fill_n(wanted.begin(), 500, 2 * static_cast<float>(turn));
      ASSERT_EQ(gpu.read_all<float>(seen), wanted) << "replay " << turn;
    }
    gpu.destroy(graph);
    session.close();
  });
}

TEST(GpuMoves, RefuseWhatHostMemoryRefuses) {
  test::run_gpu_ranks(RankMode::threads, 1, [](World& world, const cuda::Api& api) {
    const RankGpu gpu(api, world.rank());
    const std::array<LocalMove, 1> nowhere{LocalMove{.row_bytes = 16}};
    const auto text_of = [&](Memory memory) -> std::string {
      Session session = commit(world, plan_of(1, memory, kMoveBytes),
                               memory == Memory::cuda ? gpu.commit_options() : CommitOptions{});
      try {
        session.move(nowhere, memory == Memory::cuda ? gpu.stream() : Stream{});
      } catch (const Error& error) {
        session.close();
        return error.what();
      }
      return "no error";
    };
    const std::string text = text_of(Memory::host);
    EXPECT_THAT(text, testing::HasSubstr("no place for them"));
    EXPECT_EQ(text_of(Memory::cuda), text);
  });
}

// --- norms
// ----------------------------------------------------------------------------------------

struct NormCase {
  Op op;  // barrier: the norm alone
  DType dtype;
  std::size_t hidden;
  std::vector<std::size_t> rows;  // by member of reduce_scatterv, else one for all
};

std::string name_of(const NormCase& norm) {
  std::string name = std::string(to_string(norm.op)) + " " + std::string(to_string(norm.dtype)) +
                     " hidden " + std::to_string(norm.hidden) + ", rows";
  for (const std::size_t rows : norm.rows) name += " " + std::to_string(rows);
  return name;
}

std::vector<NormCase> norm_cases(std::uint32_t ranks) {
  std::vector<NormCase> cases;
  // Widths that differ in threads and in lines of a thread. The fake only shows that calls arrive.
  std::vector<std::size_t> widths = {8, 576, 7168};
  std::vector<std::size_t> heights = {0, 1, 5};
  if (!test::is_over_fake()) {
    widths.insert(widths.end(), {1024, 16384});
    heights.push_back(37);
  }
  for (const DType dtype : {DType::bf16, DType::f16}) {
    for (const std::size_t hidden : widths) {
      for (const std::size_t rows : heights) {
        for (const Op op : {Op::all_reduce, Op::reduce_scatter, Op::barrier}) {
          cases.push_back({op, dtype, hidden, {rows}});
        }
        std::vector<std::size_t> uneven;
        for (std::uint32_t rank = 0; rank < ranks; ++rank) uneven.push_back(rank * rows % 11);
        cases.push_back({Op::reduce_scatterv, dtype, hidden, uneven});
      }
    }
  }
  // Beyond what one kernel does: a sum of large operands, then the norm.
  cases.push_back({Op::all_reduce, DType::bf16, 7168, {400}});
  return cases;
}

Bytes random_reals(std::size_t elements, DType dtype, std::mt19937& random) {
  std::normal_distribution<float> normal(0, 2);
  std::vector<std::uint16_t> reals(elements);
  for (std::uint16_t& real : reals) {
    const float value = normal(random);
    real = dtype == DType::bf16 ? bf16_from_f32(value) : f16_from_f32(value);
  }
  // Now and then a row is NaN.
  if (elements > 5000) reals[elements / 2] = 0xFFFA;
  Bytes bytes(elements * 2);
  if (!bytes.empty()) std::memcpy(bytes.data(), reals.data(), bytes.size());
  return bytes;
}

/// Residual and result, one behind the other, of every case.
template <typename Place>
std::vector<Bytes> norm_on(World& world, Place& place, Memory memory,
                           const CommitOptions& options) {
  constexpr std::size_t kRowsMax = 400;
  constexpr std::size_t kBytes = kRowsMax * 7168 * 2;
  Session session = commit(world, plan_of(world.size(), memory, kBytes), options);
  const Group tp = place.group(session);
  std::byte* const residual = place.allocate(kBytes);
  std::byte* const normed = place.allocate(kBytes);
  std::byte* const weight = place.allocate(16384 * 2);
  std::mt19937 random(world.rank().index());
  std::mt19937 same(77);  // weights are the same on all ranks
  std::vector<Bytes> results;
  for (const NormCase& norm : norm_cases(world.size())) {
    const std::size_t self = tp.rank().index();
    std::vector<std::size_t> counts;
    for (const std::size_t rows : norm.rows) counts.push_back(rows * norm.hidden);
    const std::size_t out = counts[counts.size() > 1 ? self : 0];
    std::size_t in = out;
    if (norm.op == Op::reduce_scatter) in = out * tp.size();
    if (norm.op == Op::reduce_scatterv) {
      in = std::accumulate(counts.begin(), counts.end(), std::size_t{0});
    }
    const Tensor input{session.take(SlotId{0}).data(), in, norm.dtype};
    const Tensor output{session.take(SlotId{1}).data(), out, norm.dtype};
    place.write(input.data, random_reals(in, norm.dtype, random));
    place.write(residual, random_reals(out, norm.dtype, random));
    place.write(weight, random_reals(norm.hidden, norm.dtype, same));
    place.write(normed, Bytes(out * 2, std::byte{0x3D}));
    const RmsNorm rms{{residual, out, norm.dtype},
                      {weight, norm.hidden, norm.dtype},
                      {normed, out, norm.dtype},
                      1e-5F};
    switch (norm.op) {
      case Op::all_reduce: static_cast<void>(tp.all_reduce_rms_norm(input, rms)); break;
      case Op::reduce_scatter:
        static_cast<void>(tp.reduce_scatter_rms_norm(input, output, rms));
        break;
      case Op::reduce_scatterv:
        static_cast<void>(tp.reduce_scatterv_rms_norm(input, output, counts, rms));
        break;
      default: session.rms_norm(input, rms, place.stream()); break;
    }
    place.finish(session);
    results.push_back(place.read(residual, out * 2));
    const Bytes result = place.read(normed, out * 2);
    results.back().insert(results.back().end(), result.begin(), result.end());
  }
  session.close();
  return results;
}

class GpuNorms : public test::RankTest {};

TEST_P(GpuNorms, HaveTheBitsOfHostMemory) {
  run([](World& world, const cuda::Api& api) {
    RankHost host;
    const std::vector<Bytes> wanted = norm_on(world, host, Memory::host, {});
    RankDevice device(api, world.rank());
    const std::vector<Bytes> got =
        norm_on(world, device, Memory::cuda, device.gpu().commit_options());
    const std::vector<NormCase> cases = norm_cases(world.size());
    ASSERT_EQ(wanted.size(), cases.size());
    for (std::size_t i = 0; i < cases.size(); ++i) {
      EXPECT_TRUE(got.at(i) == wanted[i]) << name_of(cases[i]) << ", rank " << world.rank().index();
    }
    EXPECT_TRUE(device.gpu().is_intact());
  });
}

INSTANTIATE_TEST_SUITE_P(All, GpuNorms,
                         testing::Values(ModeAndRanks{RankMode::threads, 1},
                                         ModeAndRanks{RankMode::threads, 2},
                                         ModeAndRanks{RankMode::threads, 3},
                                         ModeAndRanks{RankMode::processes, 2}),
                         [](const auto& entry) { return test::name_of(entry.param); });

}  // namespace
}  // namespace cohort
