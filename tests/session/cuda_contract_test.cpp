// The contract of the collectives in GPU memory, over the fake of tests/support.

#include <gtest/gtest.h>

#include <cohort/cohort.hpp>

#include "contract/collective_contract.hpp"
#include "session/device_api.hpp"
#include "support/fake_cuda.hpp"
#include "support/ranks.hpp"

namespace cohort {
namespace {

using test::RankMode;

/// Operands are host memory here.
class FakeAccess final : public contract::OperandAccess {
 public:
  explicit FakeAccess(Session& session) : session_(&session) {}
  void finish() override { session_->wait({}); }

 private:
  Session* session_;
};

void run_contract(RankMode mode, const LayoutSizes& sizes, PlanOptions options = {}) {
  set_device_api(&test::fake_cuda_api());
  options.memory = Memory::cuda;
  const Layout layout(sizes);
  const auto results = test::run_ranks(mode, layout.world_size(), [&](World& world) {
    Session session = commit(world, contract::collective_plan(layout, options));
    FakeAccess access(session);
    contract::check_collectives(session, world.rank(), 20260101, access, {});
    EXPECT_EQ(session.registrations_since_commit(), 0U);
    EXPECT_EQ(session.measured_bytes(), footprint(session.plan()).planned_bytes(world.rank()));
    for (const LedgerRow& row : session.ledger()) EXPECT_EQ(row.copied_bytes, 0U);
    session.close();
    return std::string("done");
  });
  test::expect_no_errors(results);
  for (const test::RankResult& result : results) EXPECT_EQ(result.output, "done");
}

using ModeAndSize = std::tuple<RankMode, std::uint32_t>;
class CudaContract : public testing::TestWithParam<ModeAndSize> {};

TEST_P(CudaContract, Holds) {
  const auto [mode, ranks] = GetParam();
  run_contract(mode, {.tp = ranks});
}

INSTANTIATE_TEST_SUITE_P(WorldSizes, CudaContract,
                         testing::Combine(testing::Values(RankMode::threads, RankMode::processes),
                                          testing::Values(1U, 2U, 3U)),
                         [](const testing::TestParamInfo<ModeAndSize>& param) {
                           return test::to_string(std::get<0>(param.param)) +
                                  std::to_string(std::get<1>(param.param));
                         });

TEST(CudaContractOfGroups, HoldsWhereTheyOverlap) {
  run_contract(RankMode::threads, {.tp = 4, .attn_dp = 2, .attn_cp = 2});
}

class CudaContractOfPaths : public testing::TestWithParam<Path> {};

TEST_P(CudaContractOfPaths, Holds) {
  run_contract(RankMode::threads, {.tp = 3}, {.path_table = PathTable::pinned(GetParam())});
}

INSTANTIATE_TEST_SUITE_P(Paths, CudaContractOfPaths,
                         testing::Values(Path::gpu_ll, Path::gpu_lamport, Path::gpu_two_shot),
                         [](const auto& path) { return std::string(to_string(path.param)); });

}  // namespace
}  // namespace cohort
