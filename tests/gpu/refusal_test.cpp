// Calls that one rank refuses and others make: all are told, and the session goes on.

#include <algorithm>
#include <functional>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cohort/cohort.hpp>

#include "gpu/rank_gpu.hpp"
#include "gpu/rank_test.hpp"
#include "support/error_of.hpp"
#include "support/meet.hpp"

namespace cohort {
namespace {

using test::meet;
using test::RankGpu;
using test::RankMode;
using test::thrown_by;
using testing::HasSubstr;

constexpr std::size_t kHidden = 1024;
constexpr SlotId kRight{0};
constexpr SlotId kWrong{1};

/// On GPUs large enough for every kind of kernel.
std::size_t largest() {
  return test::is_over_fake() ? 60'000 : 1'500'000;
}

Plan plan_of(std::uint32_t tp, const PathTable& table = {}) {
  Plan plan(Layout{{.tp = tp}}, {.lanes = 2, .path_table = table, .memory = Memory::cuda});
  static_cast<void>(plan.slot(
      "right", {.groups = {GroupKind::tp}, .rows_max = largest(), .row_elements = 1, .depth = 2}));
  static_cast<void>(
      plan.slot("wrong", {.groups = {GroupKind::world}, .rows_max = largest(), .row_elements = 1}));
  return plan;
}

Tensor first(const Buffer& buffer, std::size_t elements, DType dtype = DType::f32) {
  return {buffer.data(), elements, dtype};
}

/// One rank's session, and memory for whatever it calls.
struct Rank {
  Rank(World& world, const cuda::Api& api, const PathTable& table = {})
      : gpu(api, world.rank(), 2),
        session(commit(world, plan_of(world.size(), table), gpu.commit_options())),
        right(session.take(kRight)),
        output(session.take(kRight)),
        wrong(session.take(kWrong)),
        self(world.rank().index()),
        size(world.size()) {}

  Group tp(std::size_t stream = 0) const {
    return session.group(GroupKind::tp).on(gpu.stream(stream));
  }
  /// Some sums, right if sequences and scratch are.
  void sum(std::size_t elements, Lane lane = {}) {
    const Tensor operand = first(right, elements);
    gpu.write_all(operand, std::vector<float>(elements, static_cast<float>(self + 1)));
    static_cast<void>(
        tp(lane.index()).all_reduce(operand, first(output, elements), ReduceOp::sum, lane));
    session.wait(gpu.stream(lane.index()));
    const std::uint32_t sum = size * (size + 1) / 2;
    const std::vector<float> wanted(elements, static_cast<float>(sum));
    ASSERT_EQ(gpu.read_all<float>(first(output, elements)), wanted);
  }

  RankGpu gpu;
  Session session;
  Buffer right;
  Buffer output;
  Buffer wrong;
  std::uint32_t self;
  std::uint32_t size;
};

using Call = std::function<void(Rank&, const Buffer& input)>;
struct Case {
  std::string op;
  Call call;
};

Case reduce(std::size_t elements, ReduceOp op = ReduceOp::sum, DType dtype = DType::f32) {
  return {"all_reduce", [=](Rank& rank, const Buffer& input) {
            static_cast<void>(rank.tp().all_reduce(first(input, elements, dtype),
                                                   first(rank.output, elements, dtype), op));
          }};
}

Case gather(std::size_t part) {
  return {"all_gather", [=](Rank& rank, const Buffer& input) {
            static_cast<void>(
                rank.tp().all_gather(first(input, part), first(rank.output, part * rank.size)));
          }};
}

Case scatter(std::size_t part) {
  return {"reduce_scatter", [=](Rank& rank, const Buffer& input) {
            static_cast<void>(rank.tp().reduce_scatter(first(input, part * rank.size),
                                                       first(rank.output, part), ReduceOp::sum));
          }};
}

/// Member i has `part` * (i + 1) elements.
std::vector<std::size_t> uneven(const Rank& rank, std::size_t part, std::size_t& sum) {
  std::vector<std::size_t> counts;
  sum = 0;
  for (std::size_t i = 0; i < rank.size; ++i) sum += counts.emplace_back(part * (i + 1));
  return counts;
}

Case gatherv(std::size_t part) {
  return {"all_gatherv", [=](Rank& rank, const Buffer& input) {
            std::size_t sum = 0;
            const auto counts = uneven(rank, part, sum);
            static_cast<void>(rank.tp().all_gatherv(first(input, counts[rank.self]),
                                                    first(rank.output, sum), counts));
          }};
}

Case scatterv(std::size_t part) {
  return {"reduce_scatterv", [=](Rank& rank, const Buffer& input) {
            std::size_t sum = 0;
            const auto counts = uneven(rank, part, sum);
            static_cast<void>(rank.tp().reduce_scatterv(
                first(input, sum), first(rank.output, counts[rank.self]), counts, ReduceOp::sum));
          }};
}

Case exchange(std::size_t part) {
  return {"all_to_all", [=](Rank& rank, const Buffer& input) {
            static_cast<void>(rank.tp().all_to_all(first(input, part * rank.size),
                                                   first(rank.output, part * rank.size)));
          }};
}

Case exchangev(std::size_t part) {
  return {"all_to_allv", [=](Rank& rank, const Buffer& input) {
            const std::size_t sum = part * rank.size;
            const std::vector<std::size_t> counts(rank.size * rank.size, part);
            static_cast<void>(
                rank.tp().all_to_allv(first(input, sum), first(rank.output, sum), counts));
          }};
}

Case broadcast(std::uint32_t root, std::size_t elements) {
  return {"broadcast", [=](Rank& rank, const Buffer& operand) {
            static_cast<void>(rank.tp().broadcast(first(operand, elements), GroupRank{root}));
          }};
}

/// One kernel, or two.
Case sum_and_norm(std::size_t rows) {
  return {"all_reduce", [=](Rank& rank, const Buffer& input) {
            const auto rows_of = [&](std::size_t count) {
              return Tensor{rank.gpu.allocate(count * kHidden * 2).data(), count * kHidden,
                            DType::bf16};
            };
            const RmsNorm norm{rows_of(rows), rows_of(1), rows_of(rows), 1e-6F};
            static_cast<void>(
                rank.tp().all_reduce_rms_norm(first(input, rows * kHidden, DType::bf16), norm));
          }};
}

std::vector<Case> cases() {
  const std::size_t most = largest();
  return {reduce(10),
          reduce(20'000),
          reduce(most),
          reduce(1'000, ReduceOp::max, DType::i32),
          reduce(3'001, ReduceOp::sum, DType::bf16),
          gather(10),
          gather(most / 4),
          scatter(10),
          scatter(most / 4),
          gatherv(7),
          gatherv(5'000),
          scatterv(7),
          scatterv(5'000),
          exchange(100),
          exchange(9'000),
          exchangev(100),
          broadcast(0, 100),
          broadcast(1, 40'000),
          sum_and_norm(4)};
}

void expect_refusal(const std::optional<Error>& error, std::uint32_t refuser,
                    const std::string& op) {
  ASSERT_TRUE(error) << op << " by rank " << refuser << ": nobody is told";
  EXPECT_EQ(error->code(), ErrorCode::usage) << error->what();
  EXPECT_EQ(error->rank(), WorldRank{refuser}) << error->what();
  EXPECT_THAT(error->what(), HasSubstr("rank " + std::to_string(refuser) + " refused " + op));
  EXPECT_THAT(error->what(), HasSubstr(" on tp [0, 1"));
  EXPECT_THAT(error->what(), HasSubstr("slot 'wrong', which is not planned for group tp"));
}

/// All ranks make the call, `refuser` with an operand of another group's slot.
void refuse(Rank& rank, const Case& wanted, std::uint32_t refuser) {
  const bool refuses = rank.self == refuser;
  const std::optional<Error> error = thrown_by([&] {
    wanted.call(rank, refuses ? rank.wrong : rank.right);
    EXPECT_FALSE(refuses) << wanted.op;
    rank.session.wait(rank.gpu.stream());
  });
  expect_refusal(error, refuser, wanted.op);
  rank.session.wait(rank.gpu.stream());  // told once
}

class GpuRefusal : public test::RankTest {};

TEST_P(GpuRefusal, ByOneRankIsToldToAllAndTheSessionGoesOn) {
  run([](World& world, const cuda::Api& api) {
    Rank rank(world, api);
    std::uint32_t turn = 0;
    for (const Case& wanted : cases()) {
      refuse(rank, wanted, turn++ % rank.size);
      rank.sum(turn % 2 == 0 ? 100 : 30'000);
    }
    rank.session.close();
  });
}

TEST_P(GpuRefusal, InTwoStepsLeavesScratchInOrder) {
  run([](World& world, const cuda::Api& api) {
    Rank rank(world, api, PathTable::pinned(Path::gpu_two_shot));
    for (std::uint32_t turn = 0; turn < 2 * rank.size; ++turn) {
      refuse(rank, reduce(turn % 2 == 0 ? 20'000 : largest()), turn % rank.size);
      rank.sum(10);
      rank.sum(50'000);
    }
    rank.session.close();
  });
}

TEST_P(GpuRefusal, OfManyCallsLosesNoStep) {
  run([](World& world, const cuda::Api& api) {
    Rank rank(world, api);
    const bool refuses = rank.self == 0;
    constexpr int kCalls = 20;
    int told = 0;
    for (int i = 0; i < kCalls; ++i) {
      const Case wanted = i % 3 == 0 ? reduce(5'000) : gather(20);
      const auto error = thrown_by([&] { wanted.call(rank, refuses ? rank.wrong : rank.right); });
      if (error) {
        expect_refusal(error, 0, refuses ? wanted.op : "");
        ++told;
      }
    }
    while (thrown_by([&] { rank.session.wait(rank.gpu.stream()); })) ++told;
    EXPECT_LE(told, kCalls);
    EXPECT_GE(told, refuses ? kCalls : 8);  // of those that are still noted
    rank.sum(1'000);
    rank.session.close();
  });
}

TEST_P(GpuRefusal, OnOneLaneLeavesTheOtherAlone) {
  run([](World& world, const cuda::Api& api) {
    Rank rank(world, api);
    rank.sum(1'000, Lane{1});
    refuse(rank, reduce(1'000), 1);
    rank.sum(20'000, Lane{1});
    rank.sum(20'000);
    rank.session.close();
  });
}

TEST_P(GpuRefusal, ByAllButOneIsTheLowestRanks) {
  run([](World& world, const cuda::Api& api) {
    Rank rank(world, api);
    const bool refuses = rank.self + 1 != rank.size;
    for (int turn = 0; turn < 3; ++turn) {
      const std::optional<Error> error = thrown_by([&] {
        reduce(3'000).call(rank, refuses ? rank.wrong : rank.right);
        rank.session.wait(rank.gpu.stream());
      });
      expect_refusal(error, 0, "all_reduce");
      rank.session.wait(rank.gpu.stream());
      rank.sum(2'000);
    }
    rank.session.close();
  });
}

TEST_P(GpuRefusal, BetweenReplaysAndInACaptureHarmsNoOtherGraph) {
  run([](World& world, const cuda::Api& api) {
    Rank rank(world, api);
    const std::size_t elements = 3'000;
    const Tensor operand = first(rank.right, elements);
    const cuda::GraphHandle graph =
        rank.gpu.capture([&] { reduce(elements).call(rank, rank.right); });
    const auto replay = [&] {
      rank.gpu.write_all(operand, std::vector<float>(elements, 1.0F));
      rank.gpu.launch(graph);
      rank.session.wait(rank.gpu.stream());
      const std::vector<float> wanted(elements, static_cast<float>(rank.size));
      EXPECT_EQ(rank.gpu.read_all<float>(first(rank.output, elements)), wanted);
    };
    for (std::uint32_t turn = 0; turn < 4; ++turn) {
      replay();
      refuse(rank, reduce(turn % 2 == 0 ? 10 : 3'000), turn % rank.size);
    }
    // In a capture nothing is launched; the others are told when it is over.
    const bool refuses = rank.self == 1;
    std::optional<Error> error;
    const cuda::GraphHandle unfinished = rank.gpu.capture([&] {
      error = thrown_by([&] { reduce(200).call(rank, refuses ? rank.wrong : rank.right); });
    });
    EXPECT_EQ(error.has_value(), refuses);
    rank.gpu.destroy(unfinished);
    meet(world);
    if (!refuses) error = thrown_by([&] { rank.session.wait(rank.gpu.stream()); });
    expect_refusal(error, 1, "all_reduce");
    replay();
    rank.gpu.destroy(graph);
    rank.session.close();
  });
}

INSTANTIATE_TEST_SUITE_P(All, GpuRefusal,
                         testing::Values(std::tuple{RankMode::threads, 2U},
                                         std::tuple{RankMode::threads, 3U},
                                         std::tuple{RankMode::processes, 2U}),
                         [](const auto& entry) { return test::name_of(entry.param); });

/// A stand-in cannot take the place of a call in a graph: the job ends with the reason.
TEST(GpuRefusalOutsideOfGraphs, OfACallThatOthersCaptureEndsTheJob) {
  const auto results = test::run_ranks(RankMode::threads, 2, [](World& world) -> std::string {
    std::string missing;
    const cuda::Api* const api = test::find_session_devices(1, missing);
    if (api == nullptr) return "skipped: " + missing;
    Rank rank(world, *api);
    if (rank.self == 0) {
      reduce(100).call(rank, rank.wrong);
      return "not refused";
    }
    const cuda::GraphHandle graph = rank.gpu.capture([&] { reduce(100).call(rank, rank.right); });
    rank.gpu.destroy(graph);
    while (true) world.check();
  });
  if (!results[0].error && results[0].output.starts_with("skipped")) {
    GTEST_SKIP() << results[0].output;
  }
  for (const test::RankResult& result : results) {
    ASSERT_TRUE(result.error) << result.output;
    EXPECT_EQ(result.error->code(), ErrorCode::usage);
    EXPECT_THAT(result.error->what(), HasSubstr("rank 0 refused all_reduce on tp [0, 1]"));
    EXPECT_THAT(result.error->what(), HasSubstr("rank 1 has captured the call into a graph"));
  }
}

}  // namespace
}  // namespace cohort
