// Plans that ask for NCCL, and the contract of collectives on its paths, over the fakes.

#include <cstdint>
#include <string>
#include <tuple>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cohort/cohort.hpp>

#include "contract/collective_contract.hpp"
#include "heap/plan_text.hpp"
#include "session/cuda_nccl.hpp"
#include "support/error_of.hpp"

namespace cohort {
namespace {

using test::error_of;
using test::expect_all;
using test::nccl_options;
using test::nccl_plan;
using test::run_over_nccl;
using testing::Contains;
using testing::HasSubstr;

std::string refused_plan(const PlanOptions& options) {
  return error_of([&] { const Plan plan(Layout{{.tp = 2}}, options); }, ErrorCode::usage);
}

TEST(NcclPlan, AsksForNcclOnGpusOnly) {
  EXPECT_THAT(refused_plan({.nccl = NcclUse::gathers}), HasSubstr("memory host"));
  EXPECT_THAT(refused_plan(nccl_options(Path::nccl_plain, NcclUse::off)),
              HasSubstr("leaves NCCL off"));
  EXPECT_THAT(heap::plan_lines(nccl_plan(nccl_options(Path::nccl_plain, NcclUse::gathers))),
              Contains(HasSubstr("nccl gathers")));
}

TEST(NcclPlan, TellsWhatCommunicatorsTake) {
  const Footprint without = footprint(nccl_plan({.memory = Memory::cuda}));
  EXPECT_EQ(without.nccl_bytes, 0U);
  PlanOptions options = nccl_options(Path::nccl_plain);
  options.lanes = 2;
  const Footprint planned = footprint(nccl_plan(options));
  std::size_t sum = 0;
  std::size_t rows = 0;
  for (const FootprintRow& row : planned.rows) {
    if (row.kind != FootprintRow::Kind::nccl) continue;
    EXPECT_THAT(row.name, HasSubstr("measured with NCCL 2.28.9"));
    sum += row.bytes;
    ++rows;
  }
  EXPECT_EQ(rows, 2U);
  EXPECT_EQ(sum, planned.nccl_bytes);
  EXPECT_GT(sum, 900'000'000U);
  options.nccl = NcclUse::off;
  options.path_table = {};
  EXPECT_EQ(footprint(nccl_plan(options)).arena_bytes, planned.arena_bytes);
}

TEST(NcclPlan, IsAgreedOn) {
  const auto results = run_over_nccl(2, [](World& world) {
    const bool first = world.rank() == WorldRank{0};
    static_cast<void>(commit(
        world,
        nccl_plan(nccl_options(Path::nccl_plain, first ? NcclUse::gathers : NcclUse::reductions))));
    return std::string();
  });
  expect_all(results, ErrorCode::mismatch, {"nccl gathers", "nccl reductions"});
}

using PathAndRanks = std::tuple<Path, std::uint32_t>;
class NcclContract : public testing::TestWithParam<PathAndRanks> {};

TEST_P(NcclContract, Holds) {
  const Path path = std::get<0>(GetParam());
  const std::uint32_t ranks = std::get<1>(GetParam());
  const Layout layout({.tp = ranks});
  const auto results = run_over_nccl(ranks, [&](World& world) {
    Session session = commit(world, contract::collective_plan(layout, nccl_options(path)));
    contract::OperandAccess access;
    contract::check_collectives(session, world.rank(), 20260101, access, {});
    EXPECT_EQ(session.registrations_since_commit(), 0U);
    EXPECT_EQ(session.measured_bytes(), footprint(session.plan()).planned_bytes(world.rank()));
    std::uint64_t taken = 0;
    for (const LedgerRow& row : session.ledger()) {
      const bool on_nccl = row.path == Path::nccl_symmetric || row.path == Path::nccl_plain;
      EXPECT_EQ(row.reason == Reason::ok, on_nccl) << to_string(row.op) << to_string(row.path);
      taken += on_nccl ? row.calls : 0;
    }
    EXPECT_GT(taken, 100U);
    session.close();
    return std::string("done");
  });
  test::expect_no_errors(results);
  for (const test::RankResult& result : results) EXPECT_EQ(result.output, "done");
}

INSTANTIATE_TEST_SUITE_P(Paths, NcclContract,
                         testing::Combine(testing::Values(Path::nccl_symmetric, Path::nccl_plain),
                                          testing::Values(2U, 3U)),
                         [](const testing::TestParamInfo<PathAndRanks>& param) {
                           return std::string(to_string(std::get<0>(param.param))) +
                                  std::to_string(std::get<1>(param.param));
                         });

}  // namespace
}  // namespace cohort
