// The fault that this project exists for, on real devices, with NCCL's own log as witness: memory
// that was registered when it was allocated, for one communicator, is handed on to another group.

#include <array>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "gpu/devices.hpp"
#include "gpu/nccl_rank.hpp"
#include "support/nccl_log.hpp"

namespace cohort::cuda {
namespace {

using nccl::CallPath;
using test::RankMode;

constexpr std::size_t kArenaBytes = std::size_t{64} << 20;
constexpr std::size_t kHalf = kArenaBytes / 2;

const std::vector<WorldRank> kBoth = {WorldRank{0}, WorldRank{1}};

/// Whether two devices are there. Asked in a process of its own: the ranks' processes must be the
/// first to use CUDA in them.
class GpuNccl : public GpuTest {
 protected:
  void SetUp() override {
    want(2);
    if (!IsSkipped() && loaded_plugin().nccl == nullptr) {
      GTEST_SKIP() << "the GPU plugin was built without NCCL";
    }
  }
};

/// A pool as engines build it: memory is registered when it first comes from the system, on the
/// communicator it is then wanted for, and freed blocks go to whoever asks next.
class NaivePool {
 public:
  explicit NaivePool(NcclRank& rank) : rank_(rank) {}

  Address allocate(NcclGroups& wanted_for) {
    if (free_) return *std::exchange(free_, std::nullopt);
    arena_ = rank_.allocate(kArenaBytes);
    wanted_for.extend(NcclRank::segments_of(*arena_), rank_.deadline(), false);
    return NcclRank::address_of(*arena_);
  }
  void release(Address address) { free_ = address; }

 private:
  NcclRank& rank_;
  std::unique_ptr<Arena> arena_;
  std::optional<Address> free_;
};

nccl::Call call_on(Address memory, Op op, std::uint64_t total_bytes, StreamHandle stream,
                   DType dtype = DType::bf16) {
  nccl::Call call{};
  call.op = op;
  call.dtype = dtype;
  call.count = total_bytes / bytes_of(dtype);
  if (op != Op::all_reduce && op != Op::broadcast) call.count /= 2;
  call.input = memory;
  call.output = memory + kHalf;
  call.stream = stream;
  return call;
}

/// How NCCL says that it runs the call; on other ranks than the first it says nothing.
std::vector<test::NcclTuning> witness(NcclRank& rank, NcclGroups& groups, std::size_t group,
                                      const nccl::Call& call, test::NcclLog& log) {
  log.take();
  groups.run(group, call);
  rank.synchronise();
  return log.take();
}

void expect_witness(const std::vector<test::NcclTuning>& seen, bool symmetric,
                    const std::string& what) {
  ASSERT_EQ(seen.size(), 1U) << what;
  EXPECT_EQ(seen.front().symmetric, symmetric) << what << ": " << seen.front().kernel;
}

TEST_F(GpuNccl, a_naive_pool_loses_the_symmetric_path_and_the_arena_keeps_it) {
  test::NcclLog log(testing::TempDir());
  const auto results = test::run_ranks(RankMode::processes, 2, [&](World& world) -> std::string {
    NcclRank rank(world);
    const auto arena = rank.allocate(kArenaBytes);
    const auto elsewhere = rank.allocate(kArenaBytes);
    const auto a =
        NcclGroups::establish(rank.domain(), rank.nccl(), {{"a", kBoth}}, {}, rank.options());
    const auto b =
        NcclGroups::establish(rank.domain(), rank.nccl(), {{"b", kBoth}}, {}, rank.options());
    const auto ours =
        NcclGroups::establish(rank.domain(), rank.nccl(), {{"a", kBoth}, {"b", kBoth}},
                              NcclRank::segments_of(*arena), rank.options());
    EXPECT_EQ(a->support().refusal, "");
    EXPECT_EQ(ours->support().windows_refusal, "");

    NaivePool pool(rank);
    const Address block = pool.allocate(*a);
    const nccl::Call under_a = call_on(block, Op::all_reduce, 2 << 20, rank.stream());
    auto seen = witness(rank, *a, 0, under_a, log);
    if (rank.is_first()) expect_witness(seen, true, "pool, communicator a");
    pool.release(block);
    const Address again = pool.allocate(*b);
    EXPECT_EQ(again, block);
    const nccl::Call under_b = call_on(again, Op::all_reduce, 2 << 20, rank.stream());
    seen = witness(rank, *b, 0, under_b, log);
    if (rank.is_first()) expect_witness(seen, false, "pool, communicator b");
    for (const std::size_t group : {std::size_t{0}, std::size_t{1}}) {
      const auto call =
          call_on(NcclRank::address_of(*arena), Op::all_reduce, 2 << 20, rank.stream());
      seen = witness(rank, *ours, group, call, log);
      if (rank.is_first()) expect_witness(seen, true, "arena");
    }

    for (const Op op : {Op::all_reduce, Op::all_gather, Op::reduce_scatter}) {
      for (const std::uint64_t bytes : {8U << 10, 128U << 10, 2U << 20, 8U << 20}) {
        const double wrong = rank.time_us(*b, 0, call_on(again, op, bytes, rank.stream()));
        const double right =
            rank.time_us(*ours, 1, call_on(NcclRank::address_of(*arena), op, bytes, rank.stream()));
        const double plain = rank.time_us(
            *b, 0, call_on(NcclRank::address_of(*elsewhere), op, bytes, rank.stream()));
        if (rank.is_first()) {
          std::printf("TIME %s %llu bytes: wrong group %.2f us, right %.2f us, plain %.2f us\n",
                      std::string(to_string(op)).c_str(), static_cast<unsigned long long>(bytes),
                      wrong, right, plain);
        }
      }
    }
    for (NcclGroups* const groups : {a.get(), b.get(), ours.get()}) groups->close(rank.deadline());
    return {};
  });
  test::expect_no_errors(results);
}

TEST_F(GpuNccl, takes_the_path_that_is_predicted) {
  test::NcclLog log(testing::TempDir());
  const auto results = test::run_ranks(RankMode::processes, 2, [&](World& world) -> std::string {
    NcclRank rank(world);
    const auto arena = rank.allocate(kArenaBytes);
    const auto elsewhere = rank.allocate(kArenaBytes);
    const auto groups = NcclGroups::establish(rank.domain(), rank.nccl(), {{"tp", kBoth}},
                                              NcclRank::segments_of(*arena), rank.options());
    if (rank.is_first()) {
      std::printf("NCCL %s\n", to_string(groups->support().version).c_str());
    }
    const Address in = NcclRank::address_of(*arena);
    const Address out = NcclRank::address_of(*elsewhere);
    for (const Op op : {Op::all_reduce, Op::all_gather, Op::reduce_scatter, Op::broadcast}) {
      for (const DType dtype : {DType::bf16, DType::f32, DType::i32}) {
        for (const std::uint64_t bytes : {std::uint64_t{1} << 10, std::uint64_t{2} << 20}) {
          for (int where = 0; where < 4; ++where) {
            nccl::Call call = call_on(0, op, bytes, rank.stream(), dtype);
            call.input = (where & 1) != 0 ? in : out;
            call.output = ((where & 2) != 0 ? in : out) + kHalf;
            nccl::PathQuery query;
            query.op = op;
            query.dtype = dtype;
            query.bytes = bytes;
            query.reductions_allowed = true;
            query.input_in_window = groups->is_in_window(call.input, bytes);
            query.output_in_window = groups->is_in_window(call.output, bytes);
            EXPECT_EQ(query.input_in_window, (where & 1) != 0);
            const nccl::PathAnswer answer = path_of(groups->support().version, query);
            const auto seen = witness(rank, *groups, 0, call, log);
            if (!rank.is_first()) continue;
            const std::string what = std::string(to_string(op)) + " of " + std::to_string(bytes) +
                                     " bytes of " + std::string(to_string(dtype)) + ", operands " +
                                     std::to_string(where);
            expect_witness(seen, answer.path == CallPath::symmetric, what);
          }
        }
      }
    }
    groups->close(rank.deadline());
    return {};
  });
  test::expect_no_errors(results);
}

// all_to_all first, as with 2.28.9 it breaks what follows where NCCL registers operands.
constexpr std::array kOps = {Op::all_to_all, Op::all_gather, Op::broadcast, Op::all_reduce,
                             Op::reduce_scatter};

/// Or plain calls are refused. Before NCCL is loaded.
void keep_nccl_from_registering_operands() {
  ::setenv("NCCL_LOCAL_REGISTER", "0", 1);
  ::setenv("NCCL_GRAPH_REGISTER", "0", 1);
}

/// What lies at the four corners of the output's first 64 KiB: both halves, first and last word.
std::array<std::uint32_t, 2> expected_halves(Op op) {
  switch (op) {
    case Op::all_reduce: return {0x2001U, 0x2001U};
    case Op::reduce_scatter: return {0x2001U, 0xDEADU};
    case Op::broadcast: return {0x1000U, 0x1000U};
    default: return {0x1000U, 0x1001U};
  }
}

void move_and_check(RankMode mode) {
  keep_nccl_from_registering_operands();
  const auto results = test::run_ranks(mode, 2, [&](World& world) -> std::string {
    NcclRank rank(world);
    const auto arena = rank.allocate(kArenaBytes);
    const auto groups =
        NcclGroups::establish(rank.domain(), rank.nccl(), {{"a", kBoth}, {"b", kBoth}},
                              NcclRank::segments_of(*arena), rank.options());
    if (rank.is_first()) {
      std::printf("BYTES of two communicators with a window each: %llu\n",
                  static_cast<unsigned long long>(groups->device_bytes()));
    }
    const Address memory = NcclRank::address_of(*arena);
    for (const Op op : kOps) {
      nccl::PathQuery query;
      query.op = op;
      query.dtype = DType::i32;
      EXPECT_NE(groups->path(0, query).path, CallPath::refused) << to_string(op);
      const nccl::Call call = call_on(memory, op, 64 << 10, rank.stream(), DType::i32);
      Stopwatch watch;
      groups->warm(1, call, rank.deadline());
      const double warm_seconds = watch.seconds();
      rank.device().fill(memory, 0x1000U + world.rank().index(), kHalf);
      rank.device().fill(memory + kHalf, 0xDEAD, kHalf);
      rank.meet();
      watch.restart();
      groups->run(1, call);
      const double call_seconds = watch.seconds();
      rank.synchronise();
      std::vector<std::uint32_t> result(16 << 10);
      rank.device().read(result.data(), call.output, result.size() * 4);
      const auto [low, high] = expected_halves(op);
      EXPECT_EQ(result.front(), low) << to_string(op);
      EXPECT_EQ(result[(8 << 10) - 1], low) << to_string(op);
      EXPECT_EQ(result[8 << 10], high) << to_string(op);
      EXPECT_EQ(result.back(), high) << to_string(op);
      if (rank.is_first()) {
        std::printf("WARM %s: %.1f ms, a call then %.1f us\n", std::string(to_string(op)).c_str(),
                    warm_seconds * 1e3, call_seconds * 1e6);
      }
    }
    Stopwatch watch;
    groups->close(rank.deadline());
    if (rank.is_first()) std::printf("END close of two %.0f ms\n", watch.seconds() * 1e3);
    return {};
  });
  test::expect_no_errors(results);
}

TEST_F(GpuNccl, moves_the_right_bytes_between_processes) {
  move_and_check(RankMode::processes);
}

TEST_F(GpuNccl, moves_the_right_bytes_between_threads) {
  move_and_check(RankMode::threads);
}

}  // namespace
}  // namespace cohort::cuda
