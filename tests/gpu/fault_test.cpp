// What is left of a job in GPU memory when a rank is killed, stops, or makes another call.

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <csignal>
#include <functional>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cohort/cohort.hpp>

#include "base/clock.hpp"
#include "gpu/rank_gpu.hpp"
#include "gpu/rank_test.hpp"
#include "support/error_of.hpp"
#include "support/meet.hpp"
#include "support/victims.hpp"

namespace cohort {
namespace {

using namespace std::chrono_literals;
using test::meet;
using test::ModeAndRanks;
using test::RankGpu;
using test::RankMode;
using test::thrown_by;
using testing::HasSubstr;

constexpr std::size_t kElements = 100'000;
constexpr WorldRank kSurvivor{0};
constexpr WorldRank kVictim{1};

Plan plan_of(std::uint32_t tp) {
  PlanOptions options;
  options.lanes = 2;
  options.memory = Memory::cuda;
  options.path_table = PathTable::pinned(Path::gpu_ll);  // small calls by flags on any machine
  Plan plan(Layout{{.tp = tp}}, options);
  static_cast<void>(plan.slot("x", {.groups = {GroupKind::tp, GroupKind::world},
                                    .rows_max = kElements,
                                    .row_elements = 1,
                                    .depth = 4}));
  return plan;
}

WaitLimits two_seconds_a_call() {
  WaitLimits limits = test::patient_limits();
  limits.steady = 2s;
  return limits;
}

/// Some all_reduces of ones, small and large.
void sum_ones(Session& session, const RankGpu& gpu) {
  const Group tp = session.group(GroupKind::tp).on(gpu.stream());
  for (const std::size_t elements : {std::size_t{10}, kElements}) {
    const Buffer buffer = session.take(SlotId{0});
    const Tensor operand = buffer.elements(elements);
    gpu.write_all(operand, std::vector<float>(elements, 1.0F));
    static_cast<void>(tp.all_reduce(operand, ReduceOp::sum));
    session.wait(gpu.stream());
    const std::vector<float> wanted(elements, static_cast<float>(tp.size()));
    ASSERT_EQ(gpu.read_all<float>(operand), wanted);
  }
}

void use_a_session(World& world, const RankGpu& gpu) {
  Session session = commit(world, plan_of(world.size()), gpu.commit_options());
  sum_ones(session, gpu);
  session.close();
}

/// An operand with ones, and a place for results that holds fives.
struct Operands {
  Operands(Session& session, const RankGpu& rank_gpu, std::size_t elements)
      : gpu(&rank_gpu),
        input(session.take(SlotId{0}).elements(elements)),
        output(session.take(SlotId{0}).elements(elements)) {
    gpu->write_all(input, std::vector<float>(elements, 1.0F));
    gpu->write_all(output, std::vector<float>(elements, 5.0F));
  }
  void expect_nan() const {
    const std::vector<float> seen = gpu->read_all<float>(output);
    for (std::size_t i = 0; i < seen.size(); ++i) {
      ASSERT_TRUE(std::isnan(seen[i])) << "element " << i << " is " << seen[i];
    }
  }
  const RankGpu* gpu;
  Tensor input;
  Tensor output;
};

// --- ranks that die ------------------------------------------------------------------------------

std::uint64_t calls_begun(const World& world, WorldRank rank) {
  const Health health = world.health();
  for (const CallCount& count : health.ranks.at(rank.index()).calls) {
    if (count.group == GroupKind::tp && count.lane == Lane{0}) return count.sequence;
  }
  return 0;
}

/// This process gets the signal while its kernel waits on lane 1, and its peer's on lane 0.
void end_in_mid_kernel(World& world, Session& session, const RankGpu& gpu, int signal) {
  const std::uint64_t calls = calls_begun(world, world.rank());
  const std::jthread ending([&world, calls, signal](const std::stop_token& stop) {
    while (calls_begun(world, kSurvivor) <= calls && !stop.stop_requested()) {
      std::this_thread::sleep_for(1ms);
    }
    // The call has begun; its launch is a matter of microseconds.
    std::this_thread::sleep_for(200ms);
    if (!stop.stop_requested()) ::kill(::getpid(), signal);
  });
  const Operands operands(session, gpu, kElements);
  static_cast<void>(session.group(GroupKind::tp)
                        .on(gpu.stream(1))
                        .all_reduce(operands.input, operands.output, ReduceOp::sum, Lane{1}));
  session.wait(gpu.stream(1));
}

/// What the other one sees.
void call_the_dying(const World& world, Session session, const RankGpu& gpu, ErrorCode code) {
  const Operands operands(session, gpu, kElements);
  const Stopwatch watch;
  const std::optional<Error> error = thrown_by([&] {
    static_cast<void>(session.group(GroupKind::tp)
                          .on(gpu.stream())
                          .all_reduce(operands.input, operands.output, ReduceOp::sum));
    session.wait(gpu.stream());
  });
  const double seconds = watch.seconds();
  ASSERT_TRUE(error) << "wait did not throw";
  EXPECT_EQ(error->code(), code) << error->what();
  EXPECT_EQ(error->rank(), kVictim) << error->what();
  EXPECT_THAT(error->what(), HasSubstr("rank 1"));
  std::cerr << "after " << seconds << " s: " << error->what() << "\n";
  // Whatever the machine does besides: not much later than the limit of a call.
  const double limit = std::chrono::duration<double>(world.limits().steady).count();
  EXPECT_LT(seconds, (limit + 8) * world.limits().scale);
  gpu.await(gpu.stream());
  operands.expect_nan();
  EXPECT_TRUE(thrown_by([&] { session.wait(gpu.stream()); })) << "the fault is forgotten";
  session.close();
}

/// Ranks of a new world, as threads of the survivor's process.
void start_again() {
  run_ranks_as_threads(2, [](std::unique_ptr<Bootstrap> bootstrap) {
    World world = World::join(std::move(bootstrap), test::patient_limits());
    std::string missing;
    const RankGpu gpu(*test::find_session_devices(1, missing), world.rank());
    use_a_session(world, gpu);
  });
}

/// Memory comes back when the driver has done with the process that died.
bool is_free_again(const cuda::OpenDevice& device, std::uint64_t before) {
  const Stopwatch watch;
  do {
    const std::uint64_t now = test::free_device_bytes(device.index());
    if (before - std::min(before, now) <= device.granule_bytes()) return true;
    std::this_thread::sleep_for(10ms);
  } while (watch.seconds() < 20);
  return false;
}

std::string play(World& world, int signal, ErrorCode code) {
  std::string missing;
  const cuda::Api* const api = test::find_session_devices(2, missing);
  if (api == nullptr) return "skipped: " + missing;
  const RankGpu gpu(*api, world.rank(), 2);
  use_a_session(world, gpu);  // what a process takes once and for all
  meet(world);                // a peer may have held on to this rank's memory until now
  const pid_t victim = static_cast<pid_t>(world.health().ranks.at(kVictim.index()).pid);
  const std::uint64_t before = test::free_device_bytes(gpu.device()->index());
  Session session = commit(world, plan_of(2), gpu.commit_options());
  EXPECT_LT(test::free_device_bytes(gpu.device()->index()), before);
  sum_ones(session, gpu);
  if (world.rank() == kVictim) end_in_mid_kernel(world, session, gpu, signal);
  call_the_dying(world, std::move(session), gpu, code);
  start_again();
  // One that is stopped still holds on to what it maps.
  if (signal == SIGSTOP) ::kill(victim, SIGKILL);
  EXPECT_TRUE(is_free_again(*gpu.device(), before)) << "is kept";
  return "survived";
}

void run_with_victim(int signal, ErrorCode code) {
  const auto results = test::run_ranks_with_victim(
      2, kVictim, [&](World& world) { return play(world, signal, code); }, two_seconds_a_call());
  if (results[0].output.starts_with("skipped")) GTEST_SKIP() << results[0].output;
  ASSERT_FALSE(results[0].error) << results[0].error->what();
  EXPECT_EQ(results[0].output, "survived");
  ASSERT_TRUE(results[1].error) << "the victim lives: " << results[1].output;
  EXPECT_THAT(results[1].error->what(), HasSubstr("signal 9"));
}

TEST(GpuDeath, OfARankInMidKernelEndsTheOthersCall) {
  run_with_victim(SIGKILL, ErrorCode::peer_failed);
}

TEST(GpuStop, OfARankInMidKernelEndsTheOthersCallByItsDeadline) {
  run_with_victim(SIGSTOP, ErrorCode::timeout);
}

// --- ranks that differ ---------------------------------------------------------------------------

/// What all ranks but the last call, what that one calls, and what the text says of both.
struct Difference {
  const char* name;
  std::function<void(const Group&, const Operands&)> call;
  std::function<void(const Group&, const Operands&)> other_call;
  std::vector<std::string> parts;
};

Tensor first(const Tensor& tensor, std::size_t elements, DType dtype = DType::f32) {
  return {tensor.data, elements, dtype};
}

std::function<void(const Group&, const Operands&)> reduce(std::size_t elements,
                                                          ReduceOp op = ReduceOp::sum,
                                                          DType dtype = DType::f32) {
  return [=](const Group& group, const Operands& operands) {
    static_cast<void>(group.all_reduce(first(operands.input, elements, dtype),
                                       first(operands.output, elements, dtype), op));
  };
}

void gather(const Group& group, const Operands& operands) {
  static_cast<void>(
      group.all_gather(first(operands.input, 100), first(operands.output, 100 * group.size())));
}

std::function<void(const Group&, const Operands&)> gather_from_first(std::size_t elements) {
  return [=](const Group& group, const Operands& operands) {
    std::vector<std::size_t> counts(group.size(), 10);
    counts[0] = elements;
    const std::size_t own = counts[group.rank().index()];
    const std::size_t all = elements + 10 * (group.size() - 1);
    static_cast<void>(
        group.all_gatherv(first(operands.input, own), first(operands.output, all), counts));
  };
}

std::vector<Difference> differences() {
  return {
      {"bytes", reduce(8), reduce(16), {"all_reduce(sum, f32, 32 bytes", "64 bytes"}},
      {"protocol", reduce(8), reduce(50'000), {"32 bytes, gpu_ll", "200000 bytes, gpu_lamport"}},
      {"grid", reduce(20'000), reduce(kElements), {"80000 bytes", "400000 bytes"}},
      {"operation", reduce(200), gather, {"all_reduce(sum, f32, 800 bytes", "all_gather("}},
      {"reduction", reduce(100), reduce(100, ReduceOp::max), {"all_reduce(sum", "all_reduce(max"}},
      {"type",
       reduce(100),
       reduce(100, ReduceOp::sum, DType::i32),
       {"f32, 400 bytes", "i32, 400 bytes"}},
      {"counts", gather_from_first(20), gather_from_first(21), {"all_gatherv("}},
  };
}

class GpuMismatch : public testing::TestWithParam<std::tuple<ModeAndRanks, std::size_t>> {};

TEST_P(GpuMismatch, ShowsBothSidesOnAllRanks) {
  const auto [mode_and_ranks, index] = GetParam();
  const auto [mode, ranks] = mode_and_ranks;
  const Difference difference = differences().at(index);
  test::run_gpu_ranks(mode, ranks, [&](World& world, const cuda::Api& api) {
    const RankGpu gpu(api, world.rank());
    Session session = commit(world, plan_of(world.size()), gpu.commit_options());
    sum_ones(session, gpu);
    const Operands operands(session, gpu, 90'000);
    meet(world);
    const Group tp = session.group(GroupKind::tp).on(gpu.stream());
    const bool is_last = world.rank().index() + 1 == world.size();
    bool is_launched = false;
    const std::optional<Error> error = thrown_by([&] {
      (is_last ? difference.other_call : difference.call)(tp, operands);
      is_launched = true;
      session.wait(gpu.stream());
    });
    ASSERT_TRUE(error) << "wait did not throw";
    EXPECT_EQ(error->code(), ErrorCode::mismatch) << error->what();
    for (const std::string& part : difference.parts) EXPECT_THAT(error->what(), HasSubstr(part));
    EXPECT_THAT(error->what(), HasSubstr("lane 0"));
    gpu.await(gpu.stream());
    // All ones, of integers, are a NaN too. A call of a third rank may come after the fault.
    for (const float value : gpu.read_all<float>(first(operands.output, 8))) {
      EXPECT_TRUE(is_launched ? std::isnan(value) : value == 5.0F) << value;
    }
    session.close();
  });
}

std::string name_of(const testing::TestParamInfo<std::tuple<ModeAndRanks, std::size_t>>& entry) {
  return std::string(differences().at(std::get<1>(entry.param)).name) + "_" +
         test::name_of(std::get<0>(entry.param));
}

INSTANTIATE_TEST_SUITE_P(All, GpuMismatch,
                         testing::Combine(testing::Values(ModeAndRanks{RankMode::threads, 2},
                                                          ModeAndRanks{RankMode::threads, 3},
                                                          ModeAndRanks{RankMode::processes, 2}),
                                          testing::Range(std::size_t{0}, differences().size())),
                         name_of);

/// Groups have scratch of their own: calls on two of them never meet, and each waits in vain. The
/// text is the first one's, the same on both ranks, and names its group.
TEST(GpuMismatchOfGroups, EndsByTheDeadlineAndNamesTheGroup) {
  std::string none;
  if (test::find_session_devices(1, none) == nullptr) GTEST_SKIP() << none;
  const auto results = test::run_ranks(
      RankMode::threads, 2,
      [&](World& world) {
        std::string missing;
        const RankGpu gpu(*test::find_session_devices(1, missing), world.rank());
        Session session = commit(world, plan_of(2), gpu.commit_options());
        const Operands operands(session, gpu, 100);
        meet(world);
        const bool is_first = world.rank() == WorldRank{0};
        const Group group =
            session.group(is_first ? GroupKind::tp : GroupKind::world).on(gpu.stream());
        const std::optional<Error> error = thrown_by([&] {
          static_cast<void>(group.all_reduce(operands.input, operands.output, ReduceOp::sum));
          session.wait(gpu.stream());
        });
        if (!error) return std::string("no error");
        EXPECT_EQ(error->code(), ErrorCode::timeout) << error->what();
        EXPECT_THAT(error->what(), HasSubstr("all_reduce(sum, f32, 400 bytes"));
        EXPECT_THAT(error->what(),
                    testing::AnyOf(HasSubstr("on tp [0, 1]"), HasSubstr("on world [0, 1]")));
        gpu.await(gpu.stream());
        operands.expect_nan();
        session.close();
        return std::string(error->what());
      },
      two_seconds_a_call());
  test::expect_no_errors(results);
  // One error ends both; each may add what it was in itself.
  const auto [shorter, longer] =
      std::minmax(results[0].output, results[1].output,
                  [](const auto& left, const auto& right) { return left.size() < right.size(); });
  EXPECT_THAT(longer, testing::StartsWith(shorter));
}

}  // namespace
}  // namespace cohort
