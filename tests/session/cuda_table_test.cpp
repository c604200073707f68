// Which path table is in force for a session in GPU memory, over the fake of tests/support.

#include <cstdio>
#include <span>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cohort/cohort.hpp>

#include "session/cuda_ranks.hpp"
#include "session/gpus.hpp"

namespace cohort {
namespace {

using test::RankMode;
using testing::HasSubstr;

constexpr std::size_t kElements = 4096;
constexpr const char* kShippedFor = "NVIDIA H200";

/// The fake's devices are called so while it lives.
class Named {
 public:
  explicit Named(const char* name) { test::fake_cuda().name = name; }
  ~Named() { test::fake_cuda().name = "fake"; }
  Named(const Named&) = delete;
  Named& operator=(const Named&) = delete;
};

Plan plan_of(std::uint32_t tp, const PathTable& table = {}, std::size_t rows = kElements) {
  Plan plan(Layout{{.tp = tp}}, {.path_table = table, .memory = Memory::cuda});
  static_cast<void>(
      plan.slot("x", {.groups = {GroupKind::tp}, .rows_max = rows, .row_elements = 1}));
  return plan;
}

void sum_ones(Session& session, std::size_t elements) {
  const Verdict verdict = test::sum_of_ones(session, elements);
  EXPECT_EQ(verdict.path,
            session.explain(GroupKind::tp, Op::all_reduce, DType::f32, elements * 4).path);
  EXPECT_EQ(verdict.reason, Reason::ok);
}

class CudaTable : public testing::TestWithParam<RankMode> {};

TEST_P(CudaTable, TheOneThatComesWithCohortServesItsHardware) {
  const Named h200(kShippedFor);
  const auto results = test::run_ranks(GetParam(), 2, [](World& world) {
    Session session = commit(world, plan_of(2));
    EXPECT_THAT(session.path_table().lines().front(), HasSubstr("shipped table for NVIDIA H200"));
    EXPECT_EQ(session.plan().options().path_table, PathTable()) << "the plan stays as declared";
    for (const std::size_t elements : {1U, 512U, 1024U, 4096U}) sum_ones(session, elements);
    const auto path_of = [&](std::size_t bytes) {
      return session.explain(GroupKind::tp, Op::all_reduce, DType::f32, bytes).path;
    };
    EXPECT_EQ(path_of(64), Path::gpu_lamport);  // by the built-in one gpu_ll
    EXPECT_EQ(path_of(4096), Path::gpu_lamport);
    session.recommit(plan_of(2, {}, 2 * kElements));
    EXPECT_THAT(session.path_table().lines().front(), HasSubstr("shipped table"));
    sum_ones(session, 2 * kElements);
    session.close();
    return std::string();
  });
  test::expect_no_errors(results);
}

TEST_P(CudaTable, OtherHardwareKeepsTheBuiltInOne) {
  const auto results = test::run_ranks(GetParam(), 2, [](World& world) {
    Session session = commit(world, plan_of(2));
    EXPECT_EQ(session.path_table(), PathTable());
    EXPECT_EQ(session.explain(GroupKind::tp, Op::all_reduce, DType::f32, 4096).path,
              Path::gpu_lamport);
    session.close();
    return std::string();
  });
  test::expect_no_errors(results);
}

TEST(CudaTableOfThreads, RanksThatShareADeviceKeepTheBuiltInOne) {
  const Named h200(kShippedFor);
  const auto results = test::run_ranks(RankMode::threads, 2, [](World& world) {
    Session session = commit(world, plan_of(2), {.device = 1});
    EXPECT_EQ(session.path_table(), PathTable());
    session.close();
    return std::string();
  });
  test::expect_no_errors(results);
}

TEST(CudaTableOfThreads, WhatThePlanSaysGoesFirst) {
  const Named h200(kShippedFor);
  const Gpus elsewhere{"Some GPU", "8.0", "12.0", GpuLink::pcie};
  const std::vector<PathRow> rows = {
      {Op::all_reduce, 2, false, {{Path::gpu_two_shot}}, Memory::cuda}};
  const PathTable own(rows, {}, "1", {elsewhere, {{GridFamily::reduce, 2, {{96, 512}, {32}}}}});
  for (const PathTable& table :
       {own, PathTable::pinned(Path::gpu_two_shot),
        PathTable::pinned(Path::gpu_two_shot, {{GridFamily::reduce, 2, {{64}}}})}) {
    const auto results = test::run_ranks(RankMode::threads, 2, [&](World& world) {
      Session session = commit(world, plan_of(2, table));
      EXPECT_EQ(session.path_table(), table);
      EXPECT_EQ(session.explain(GroupKind::tp, Op::all_reduce, DType::f32, 64).path,
                Path::gpu_two_shot);
      for (const std::size_t elements : {1U, 100U, 4096U}) sum_ones(session, elements);
      session.close();
      return std::string();
    });
    test::expect_no_errors(results);
  }
}

TEST(CudaTableOfThreads, RanksWithUnlikeGridsAreRefused) {
  const auto results = test::run_ranks(RankMode::threads, 2, [](World& world) {
    const std::uint32_t threads = world.rank() == WorldRank{0} ? 64 : 128;
    const PathTable table({}, {}, "1", {{}, {{GridFamily::move, 2, {{threads}}}}});
    static_cast<void>(commit(world, plan_of(2, table)));
    return std::string();
  });
  test::expect_all(results, ErrorCode::mismatch,
                   {"rank 0 declared [grid of move, 2 ranks: 64 threads]",
                    "rank 1 declared [grid of move, 2 ranks: 128 threads]"});
}

INSTANTIATE_TEST_SUITE_P(Modes, CudaTable, testing::Values(RankMode::threads, RankMode::processes),
                         [](const auto& mode) { return test::to_string(mode.param); });

std::vector<cuda::DeviceFacts> fake_devices(std::uint32_t count) {
  std::vector<cuda::DeviceFacts> devices(count);
  for (std::uint32_t device = 0; device < count; ++device) {
    EXPECT_EQ(test::fake_cuda_api().describe(device, &devices[device]).code,
              cuda::Status::Code::ok);
  }
  return devices;
}

TEST(GpusOfRanks, HaveTheLeastLink) {
  const cuda::Api& api = test::fake_cuda_api();
  auto devices = fake_devices(4);
  EXPECT_EQ(least_link(api, 0, devices), GpuLink::nvlink);
  EXPECT_EQ(least_link(api, 0, std::span(devices).first(1)), GpuLink::unknown);
  devices.push_back(devices[0]);
  EXPECT_EQ(least_link(api, 0, devices), GpuLink::shared);
  EXPECT_EQ(least_link(api, 1, devices), GpuLink::nvlink) << "another one shares a device";
  devices.push_back(devices[1]);
  devices.back().pci[0] = 'x';  // of another process
  EXPECT_EQ(least_link(api, 0, devices), GpuLink::unknown);
  test::fake_cuda().island_bit = 2;
  EXPECT_EQ(least_link(api, 0, std::span(devices).first(4)), GpuLink::unknown);
  EXPECT_EQ(least_link(api, 0, std::span(devices).first(2)), GpuLink::nvlink);
  test::fake_cuda().island_bit = 0;
}

TEST(GpusOfRanks, AreDescribed) {
  const cuda::Api& api = test::fake_cuda_api();
  EXPECT_EQ(gpus_of_process(api), (Gpus{"fake", "9.0", "13.0", GpuLink::nvlink}));
  auto devices = fake_devices(2);
  std::snprintf(devices[1].name, sizeof(devices[1].name), "another");
  devices[1].driver_version = 12040;
  EXPECT_EQ(gpus_of(devices, GpuLink::pcie),
            (Gpus{"another and fake", "9.0", "12.4 and 13.0", GpuLink::pcie}));
}

}  // namespace
}  // namespace cohort
