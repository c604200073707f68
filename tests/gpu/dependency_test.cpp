// What our kernels lean on where a caller puts kernels of others between two of them.
//
// Every kernel of ours begins with griddepcontrol.wait and may be launched programmatically, so
// that it starts while the one ahead ends. The wait is for the kernel ahead alone. Is what came
// before that one over as well, if the one ahead never waited itself? Scratch that the first one
// of ours still reads would otherwise be stored to by the next one.
//
// The answer, on H200 with driver 580 and CUDA 13: it is. The last kernel was early in 0 of 200
// rounds, in streams and in graphs, with programmatic launches and without. CUDA's guide does not
// promise it in so many words: hence this test, for every device and driver that we meet.

#include "gpu/dependency.hpp"

#include <iostream>
#include <tuple>

#include <gtest/gtest.h>

#include "gpu/devices.hpp"

namespace cohort::cuda {
namespace {

using Launches = std::tuple<Launched, bool, bool>;

class GpuDependency : public testing::TestWithParam<Launches> {};

TEST_P(GpuDependency, ReachesPastAKernelThatDoesNotWait) {
  const auto [launched, programmatic, between_waits] = GetParam();
  std::string missing;
  const Api* const api = find_devices(1, missing);
  if (api == nullptr) GTEST_SKIP() << missing;
  DeviceFacts facts{};
  const Status status = api->describe(0, &facts);
  ASSERT_EQ(status.code, Status::Code::ok) << status.text;
  if (facts.compute_major < 9 && programmatic)
    GTEST_SKIP() << facts.name << " has no such launches";
  const DependencyRun run = run_dependency(0, launched, programmatic, between_waits, 200);
  ASSERT_EQ(run.fault, "");
  EXPECT_EQ(run.early, 0U) << "of 200";
  // Without the launch attribute nothing overlaps; with it the test means something only if it
  // does.
  std::cout << "kernels overlapped in " << run.overlaps << " of 200 rounds\n";
  if (!programmatic || between_waits) {
    EXPECT_EQ(run.overlaps, 0U);
  }
}

INSTANTIATE_TEST_SUITE_P(All, GpuDependency,
                         testing::Combine(testing::Values(Launched::in_stream, Launched::in_graph),
                                          testing::Bool(), testing::Bool()),
                         [](const auto& entry) {
                           const bool in_graph = std::get<0>(entry.param) == Launched::in_graph;
                           const bool programmatic = std::get<1>(entry.param);
                           const bool waits = std::get<2>(entry.param);
                           return std::string(in_graph ? "graph" : "stream") +
                                  (programmatic ? "_programmatic" : "_plain") +
                                  (waits ? "_waits" : "_never_waits");
                         });

}  // namespace
}  // namespace cohort::cuda
