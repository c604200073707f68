// Sessions in GPU memory, over the fake of tests/support: what the library decides, without a GPU.

#include <cstring>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cohort/cohort.hpp>

#include "session/device_api.hpp"
#include "support/fake_cuda.hpp"
#include "support/ranks.hpp"

namespace cohort {
namespace {

using test::RankMode;
using testing::HasSubstr;

/// Every test is over the fake, its ranks in processes of their own as well.
const bool kOverFake = [] {
  set_device_api(&test::fake_cuda_api());
  return true;
}();

Plan plan_of(std::uint32_t tp, PlanOptions options = {}, std::size_t elements = 4096) {
  options.memory = Memory::cuda;
  Plan plan(Layout{{.tp = tp}}, options);
  static_cast<void>(plan.slot(
      "x", {.groups = {GroupKind::tp}, .rows_max = elements, .row_elements = 1, .depth = 2}));
  return plan;
}

class CudaSession : public testing::TestWithParam<RankMode> {};

TEST_P(CudaSession, SumsOnAllRanks) {
  const auto results = test::run_ranks(GetParam(), 3, [](World& world) {
    Session session = commit(world, plan_of(3));
    const Group tp = session.group(GroupKind::tp);
    for (const std::size_t elements : {0U, 1U, 100U, 4096U}) {
      const Buffer buffer = session.take(SlotId{0});
      auto* const data = buffer.as<float>();
      for (std::size_t i = 0; i < elements; ++i) {
        data[i] = static_cast<float>(i + world.rank().index());
      }
      const Verdict verdict = tp.all_reduce(buffer.elements(elements), ReduceOp::sum);
      EXPECT_EQ(verdict.reason, Reason::ok);
      EXPECT_EQ(verdict.path,
                session.explain(GroupKind::tp, Op::all_reduce, DType::f32, elements * 4).path);
      session.wait({});
      for (std::size_t i = 0; i < elements; ++i) {
        EXPECT_EQ(data[i], static_cast<float>(3 * i + 3)) << i;
      }
    }
    EXPECT_EQ(session.measured_bytes(), session.footprint().planned_bytes(world.rank()));
    EXPECT_EQ(session.registrations_since_commit(), 0U);
    session.close();
    return std::string();
  });
  test::expect_no_errors(results);
}

INSTANTIATE_TEST_SUITE_P(Modes, CudaSession,
                         testing::Values(RankMode::threads, RankMode::processes),
                         [](const auto& mode) { return test::to_string(mode.param); });

}  // namespace
}  // namespace cohort
