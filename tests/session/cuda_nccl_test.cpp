// Sessions that send calls to NCCL, over fakes of GPUs and of NCCL: which path a call takes, what
// it is told, and how communicators begin and end. Ranks are threads: the fake knows no others.

#include <algorithm>
#include <cstdint>
#include <functional>
#include <string>
#include <tuple>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cohort/cohort.hpp>

#include "backend/host/domain.hpp"
#include "contract/collective_contract.hpp"
#include "heap/plan_text.hpp"
#include "session/cuda_ranks.hpp"
#include "support/fake_nccl.hpp"

namespace cohort {
namespace {

using test::expect_all;
using test::FakeNcclFaults;
using test::FakeStream;
using test::RankMode;
using testing::Contains;
using testing::HasSubstr;

constexpr std::size_t kElements = 4096;

PlanOptions options_of(Path pin, NcclUse use = NcclUse::reductions, bool strict = false) {
  PlanOptions options;
  options.strict = strict;
  options.path_table = PathTable::pinned(pin);
  options.memory = Memory::cuda;
  options.nccl = use;
  return options;
}

Plan plan_of(const PlanOptions& options, std::uint32_t tp = 2) {
  Plan plan(Layout{{.tp = tp}}, options);
  static_cast<void>(plan.slot(
      "x", {.groups = {GroupKind::tp}, .rows_max = kElements, .row_elements = 1, .depth = 2}));
  return plan;
}

using RankFaults = std::function<FakeNcclFaults(WorldRank)>;

/// Runs ranks over the fakes, each with an NCCL that does wrong what it is told to.
std::vector<test::RankResult> run(std::uint32_t ranks, const test::RankBody& body,
                                  const RankFaults& faults = {}) {
  set_device_api(&test::fake_cuda_api(), &test::fake_nccl());
  test::reset_fake_nccl();
  return test::run_ranks(RankMode::threads, ranks, [&](World& world) {
    test::set_fake_nccl_faults(faults ? faults(world.rank()) : FakeNcclFaults{});
    return body(world);
  });
}

RankFaults on_rank_1(const FakeNcclFaults& faults) {
  return [faults](WorldRank rank) { return rank == WorldRank{1} ? faults : FakeNcclFaults{}; };
}

RankFaults on_all(const FakeNcclFaults& faults) {
  return [faults](WorldRank) { return faults; };
}

/// An all_reduce of ones in a slot.
Verdict sum_ones(Session& session) {
  return test::sum_of_ones(session, 1000);
}

/// The same of memory outside the arena, and of another type.
template <typename Element>
Verdict sum_outside(Session& session, DType dtype) {
  std::vector<Element> memory(1000, Element{1});
  const Group tp = session.group(GroupKind::tp);
  const Verdict verdict = tp.all_reduce({memory.data(), memory.size(), dtype}, ReduceOp::sum);
  session.wait({});
  EXPECT_EQ(memory.back(), static_cast<Element>(tp.size()));
  return verdict;
}

Verdict broadcast(Session& session) {
  const Buffer buffer = session.take(SlotId{0});
  const Group tp = session.group(GroupKind::tp);
  std::fill_n(buffer.as<float>(), 100, static_cast<float>(tp.rank().index() + 5));
  const Verdict verdict = tp.broadcast(buffer.elements(100), GroupRank{1});
  session.wait({});
  EXPECT_EQ(buffer.as<float>()[99], 6.0F);
  return verdict;
}

/// All ranks have come so far.
void meet(World& world) {
  host::Domain& domain = world.domain();
  domain.all_gather({}, "test", domain.deadline_after(domain.limits().setup));
}

constexpr Verdict kSymmetric{Path::nccl_symmetric, Reason::ok, 0};
constexpr Verdict kPlain{Path::nccl_plain, Reason::ok, 0};

Verdict own(Reason reason) {
  return {Path::gpu_lamport, reason, 0};
}

// --- plans ---------------------------------------------------------------------------------------

std::string refused_plan(const PlanOptions& options) {
  try {
    const Plan plan(Layout{{.tp = 2}}, options);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::usage);
    return error.what();
  }
  return "not refused";
}

TEST(NcclPlan, AsksForNcclOnGpusOnly) {
  EXPECT_THAT(refused_plan({.nccl = NcclUse::gathers}), HasSubstr("memory host"));
  EXPECT_THAT(refused_plan(options_of(Path::nccl_plain, NcclUse::off)),
              HasSubstr("leaves NCCL off"));
  EXPECT_THAT(heap::plan_lines(plan_of(options_of(Path::nccl_plain, NcclUse::gathers))),
              Contains(HasSubstr("nccl gathers")));
}

TEST(NcclPlan, TellsWhatCommunicatorsTake) {
  const Footprint without = footprint(plan_of({.memory = Memory::cuda}));
  EXPECT_EQ(without.nccl_bytes, 0U);
  PlanOptions options = options_of(Path::nccl_plain);
  options.lanes = 2;
  const Footprint planned = footprint(plan_of(options));
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
  EXPECT_EQ(footprint(plan_of(options)).arena_bytes, planned.arena_bytes);
}

TEST(NcclPlan, IsAgreedOn) {
  const auto results = run(2, [](World& world) {
    const bool first = world.rank() == WorldRank{0};
    static_cast<void>(commit(
        world,
        plan_of(options_of(Path::nccl_plain, first ? NcclUse::gathers : NcclUse::reductions))));
    return std::string();
  });
  expect_all(results, ErrorCode::mismatch, {"nccl gathers", "nccl reductions"});
}

// --- the contract --------------------------------------------------------------------------------

using PathAndRanks = std::tuple<Path, std::uint32_t>;
class NcclContract : public testing::TestWithParam<PathAndRanks> {};

TEST_P(NcclContract, Holds) {
  const Path path = std::get<0>(GetParam());
  const std::uint32_t ranks = std::get<1>(GetParam());
  const Layout layout({.tp = ranks});
  const auto results = run(ranks, [&](World& world) {
    Session session = commit(world, contract::collective_plan(layout, options_of(path)));
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

// --- which path a call takes ---------------------------------------------------------------------

TEST(NcclPaths, AreTakenByWhatFits) {
  const auto results = run(2, [](World& world) {
    Session session = commit(world, plan_of(options_of(Path::nccl_symmetric)));
    EXPECT_EQ(sum_ones(session), kSymmetric);
    EXPECT_EQ(sum_outside<float>(session, DType::f32), own(Reason::operand_not_in_heap));
    EXPECT_EQ(sum_outside<std::int32_t>(session, DType::i32), own(Reason::op_unsupported));
    EXPECT_EQ(broadcast(session).reason, Reason::op_unsupported);
    EXPECT_EQ(session.explain(GroupKind::tp, Op::all_reduce, DType::f32, 4000),
              (PathChoice{Path::nccl_symmetric, Reason::ok}));
    EXPECT_EQ(session.explain(GroupKind::tp, Op::broadcast, DType::f32, 4000),
              (PathChoice{Path::gpu_lamport, Reason::op_unsupported}));
    std::vector<std::string> rows;
    for (const LedgerRow& row : session.ledger()) {
      rows.push_back(std::string(to_string(row.op)) + " " + std::string(to_string(row.path)) + " " +
                     std::string(to_string(row.reason)));
      EXPECT_EQ(row.calls, 1U);
      EXPECT_EQ(row.bytes, row.op == Op::broadcast ? 400U : 4000U);
    }
    EXPECT_THAT(rows, testing::UnorderedElementsAre("all_reduce nccl_symmetric ok",
                                                    "all_reduce gpu_lamport operand_not_in_heap",
                                                    "all_reduce gpu_lamport op_unsupported",
                                                    "broadcast gpu_ll op_unsupported"));
    session.close();
    return std::string();
  });
  test::expect_no_errors(results);
}

TEST(NcclPaths, PlainOnesBecomeSymmetricInTheArenaAsNcclDoes) {
  const auto results = run(2, [](World& world) {
    Session session = commit(world, plan_of(options_of(Path::nccl_plain)));
    meet(world);
    const auto before = test::fake_nccl_counts();
    meet(world);
    EXPECT_EQ(sum_ones(session), kSymmetric);
    EXPECT_EQ(sum_outside<float>(session, DType::f32), kPlain);
    EXPECT_EQ(sum_outside<std::int32_t>(session, DType::i32), kPlain);
    EXPECT_EQ(broadcast(session), kPlain);
    meet(world);
    const auto after = test::fake_nccl_counts();
    EXPECT_EQ(after.calls - before.calls, 8U);
    EXPECT_EQ(after.symmetric_calls - before.symmetric_calls, 2U);
    session.close();
    return std::string();
  });
  test::expect_no_errors(results);
}

TEST(NcclPaths, LeaveSumsOfFloatsToUsUnlessAsked) {
  const auto results = run(2, [](World& world) {
    Session session = commit(world, plan_of(options_of(Path::nccl_plain, NcclUse::gathers)));
    EXPECT_EQ(sum_ones(session), own(Reason::op_unsupported));
    EXPECT_EQ(sum_outside<std::int32_t>(session, DType::i32), kPlain);
    session.close();
    return std::string();
  });
  test::expect_no_errors(results);
}

TEST(NcclPaths, AreNoneWhereTheVersionHasNoWindows) {
  FakeNcclFaults newer;
  newer.version = 23'100;
  const auto results = run(
      2,
      [](World& world) {
        Session session = commit(world, plan_of(options_of(Path::nccl_symmetric)));
        EXPECT_EQ(sum_ones(session), own(Reason::nccl_version_refused));
        session.close();
        Session plain = commit(world, plan_of(options_of(Path::nccl_plain)));
        EXPECT_EQ(sum_ones(plain), kPlain);
        plain.close();
        return std::string();
      },
      on_all(newer));
  test::expect_no_errors(results);
}

TEST(NcclPaths, AreRefusedWhenStrict) {
  FakeNcclFaults newer;
  newer.version = 23'100;
  const auto strict = [](World& world) {
    Session session =
        commit(world, plan_of(options_of(Path::nccl_symmetric, NcclUse::reductions, true)));
    try {
      static_cast<void>(sum_ones(session));
    } catch (const Error&) {
      session.close();  // nothing of the session is lost
      throw;
    }
    return std::string();
  };
  expect_all(run(2, strict, on_all(newer)), ErrorCode::strict_miss,
             {"gpu_lamport", "nccl_version_refused"});
  const auto results = run(2, [](World& world) {
    Session session =
        commit(world, plan_of(options_of(Path::nccl_symmetric, NcclUse::reductions, true)));
    EXPECT_EQ(sum_ones(session), kSymmetric);
    try {
      static_cast<void>(sum_outside<float>(session, DType::f32));
      ADD_FAILURE() << "an operand outside the arena was let through";
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr("strict"));
      EXPECT_THAT(error.what(), HasSubstr("operand_not_in_heap"));
    }
    EXPECT_EQ(sum_ones(session), kSymmetric);
    session.close();
    return std::string();
  });
  test::expect_no_errors(results);
}

/// In place in a slot, `elements` bytes of each rank, the first of them at `offset`.
Verdict gather_bytes(Session& session, std::size_t elements, std::size_t offset) {
  const Group tp = session.group(GroupKind::tp);
  const std::size_t self = tp.rank().index();
  const Buffer buffer = session.take(SlotId{0});
  std::byte* const first = static_cast<std::byte*>(buffer.data()) + offset;
  std::byte* const own = first + self * elements;
  std::fill_n(own, elements, std::byte(self + 1));
  const Verdict verdict =
      tp.all_gather({own, elements, DType::u8}, {first, 2 * elements, DType::u8});
  session.wait({});
  for (std::size_t i = 0; i < 2 * elements; ++i) {
    EXPECT_EQ(first[i], std::byte(i / elements + 1)) << elements << " bytes, " << i;
  }
  return verdict;
}

TEST(NcclPaths, AreOwnWhereSymmetricKernelsGiveWrongResults) {
  for (const Path pin : {Path::nccl_symmetric, Path::nccl_plain}) {
    const auto results = run(2, [&](World& world) {
      Session session = commit(world, plan_of(options_of(pin)));
      EXPECT_EQ(gather_bytes(session, 4096, 0), kSymmetric);
      EXPECT_EQ(gather_bytes(session, 4094, 0), own(Reason::operand_misaligned));
      EXPECT_EQ(gather_bytes(session, 4096, 2), own(Reason::operand_misaligned));
      EXPECT_EQ(gather_bytes(session, 4096, 4), kSymmetric);
      session.close();
      return std::string();
    });
    test::expect_no_errors(results);
  }
}

TEST(NcclPaths, PlainOnesAreNoneWhereARankLetsNcclRegisterOperands) {
  FakeNcclFaults registers;
  registers.registers_operands = true;
  const auto results = run(
      2,
      [](World& world) {
        Session session = commit(world, plan_of(options_of(Path::nccl_plain)));
        EXPECT_EQ(sum_ones(session), kSymmetric);
        EXPECT_EQ(sum_outside<float>(session, DType::f32), own(Reason::nccl_version_refused));
        EXPECT_EQ(broadcast(session).reason, Reason::nccl_version_refused);
        session.close();
        return std::string();
      },
      on_rank_1(registers));
  test::expect_no_errors(results);
}

TEST(NcclPaths, AreNoneWhereRanksShareADevice) {
  const auto results = run(2, [](World& world) {
    Session session = commit(world, plan_of(options_of(Path::nccl_plain)), {.device = 0});
    EXPECT_EQ(sum_ones(session), own(Reason::nccl_version_refused));
    session.close();
    return std::string();
  });
  test::expect_no_errors(results);
  EXPECT_EQ(test::fake_nccl_counts().joined, 0U);
}

// --- what the header step finds ------------------------------------------------------------------

TEST(NcclHeader, FindsCallsThatDiffer) {
  const auto results = run(2, [](World& world) {
    Session session = commit(world, plan_of(options_of(Path::nccl_symmetric)));
    const Buffer buffer = session.take(SlotId{0});
    const std::size_t elements = world.rank() == WorldRank{0} ? 8 : 16;
    static_cast<void>(
        session.group(GroupKind::tp).all_reduce(buffer.elements(elements), ReduceOp::sum));
    while (true) session.wait({});
    return std::string();
  });
  expect_all(results, ErrorCode::mismatch,
             {"all_reduce(sum, f32, 32 bytes, nccl_symmetric)",
              "all_reduce(sum, f32, 64 bytes, nccl_symmetric)"});
}

TEST(NcclHeader, FindsOperandsAtOtherPlaces) {
  const auto results = run(2, [](World& world) {
    Session session = commit(world, plan_of(options_of(Path::nccl_symmetric)));
    Buffer buffer = session.take(SlotId{0});
    if (world.rank() == WorldRank{1}) buffer = session.take(SlotId{0});
    static_cast<void>(session.group(GroupKind::tp).all_reduce(buffer.elements(8), ReduceOp::sum));
    while (true) session.wait({});
    return std::string();
  });
  expect_all(results, ErrorCode::mismatch, {"the members' calls differ", "at other places"});
}

TEST(NcclHeader, FindsAnOperandThatLiesOutsideOnOneRank) {
  const auto results = run(2, [](World& world) {
    Session session = commit(world, plan_of(options_of(Path::nccl_symmetric)));
    const Buffer buffer = session.take(SlotId{0});
    std::vector<float> outside(8);
    const Tensor operand = world.rank() == WorldRank{0} ? Tensor(buffer.elements(8))
                                                        : Tensor{outside.data(), 8, DType::f32};
    static_cast<void>(session.group(GroupKind::tp).all_reduce(operand, ReduceOp::sum));
    while (true) session.wait({});
    return std::string();
  });
  expect_all(results, ErrorCode::mismatch, {"nccl_symmetric", "gpu_ll"});
}

// --- graphs, recommits, beginnings and ends ------------------------------------------------------

TEST(NcclSession, ReplaysGraphsAndCountsThem) {
  const auto results = run(2, [](World& world) {
    Session session = commit(world, plan_of(options_of(Path::nccl_symmetric)));
    FakeStream stream;
    const Buffer buffer = session.take(SlotId{0});
    stream.begin_capture();
    EXPECT_EQ(session.group(GroupKind::tp)
                  .on(stream.handle())
                  .all_reduce(buffer.elements(600), ReduceOp::sum),
              kSymmetric);
    const auto replay = stream.end_capture();
    for (int turn = 1; turn <= 5; ++turn) {
      std::fill_n(buffer.as<float>(), 600, static_cast<float>(turn));
      replay();
      session.wait(stream.handle());
      EXPECT_EQ(buffer.as<float>()[599], static_cast<float>(2 * turn));
    }
    const std::vector<LedgerRow> rows = session.ledger();
    EXPECT_EQ(rows.size(), 1U);
    for (const LedgerRow& row : rows) {
      EXPECT_EQ(row.path, Path::nccl_symmetric);
      EXPECT_EQ(row.calls, 5U);
      EXPECT_EQ(row.bytes, 5U * 2400);
    }
    session.close();
    return std::string();
  });
  test::expect_no_errors(results);
}

TEST(NcclSession, ShowsNcclWhatARecommitAdds) {
  const auto results = run(2, [](World& world) {
    Session session = commit(world, plan_of(options_of(Path::nccl_symmetric)));
    Plan next = session.plan();
    const SlotId late =
        next.slot("late", {.groups = {GroupKind::tp}, .rows_max = kElements, .row_elements = 512});
    session.recommit(next);
    EXPECT_EQ(sum_ones(session), kSymmetric);
    const Buffer buffer = session.take(late);
    std::fill_n(buffer.as<float>(), 4096, 1.0F);
    EXPECT_EQ(session.group(GroupKind::tp).all_reduce(buffer.elements(4096), ReduceOp::sum),
              kSymmetric);
    session.wait({});
    EXPECT_EQ(buffer.as<float>()[4095], 2.0F);
    session.close();
    return std::string();
  });
  test::expect_no_errors(results);
  const auto counts = test::fake_nccl_counts();
  EXPECT_EQ(counts.joined, 2U);
  EXPECT_EQ(counts.destroyed, 2U);
  EXPECT_EQ(counts.windows, 0U);
}

TEST(NcclSession, TellsAllRanksIfNcclDoesNotTakeTheNewMemory) {
  const auto results = run(2, [](World& world) {
    Session session = commit(world, plan_of(options_of(Path::nccl_symmetric)));
    FakeNcclFaults faults;
    faults.fails_to_register = world.rank() == WorldRank{1};
    test::set_fake_nccl_faults(faults);
    Plan next = session.plan();
    static_cast<void>(
        next.slot("late", {.groups = {GroupKind::tp}, .rows_max = kElements, .row_elements = 512}));
    try {
      session.recommit(next);
      ADD_FAILURE() << "the recommit went through";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::nccl) << error.what();
      EXPECT_THAT(error.what(), HasSubstr("on rank 1"));
      EXPECT_THAT(error.what(), HasSubstr("fake NCCL: no socket"));
    }
    meet(world);
    return std::string();
  });
  test::expect_no_errors(results);
}

TEST(NcclSession, HasACommunicatorForEachGroupAndLane) {
  const auto results = run(4, [](World& world) {
    PlanOptions options = options_of(Path::nccl_plain);
    options.lanes = 2;
    Plan plan(Layout{{.tp = 4, .attn_dp = 2}}, options);
    static_cast<void>(plan.slot(
        "x",
        {.groups = {GroupKind::tp, GroupKind::attn_tp}, .rows_max = kElements, .row_elements = 1}));
    Session session = commit(world, plan);
    for (const std::uint32_t lane : {0U, 1U}) {
      const Buffer buffer = session.take(SlotId{0});
      std::fill_n(buffer.as<float>(), 100, 1.0F);
      const Group group = session.group(GroupKind::attn_tp);
      EXPECT_EQ(group.all_reduce(buffer.elements(100), ReduceOp::sum, Lane{lane}), kSymmetric);
      session.wait({});
      EXPECT_EQ(buffer.as<float>()[99], 2.0F);
    }
    session.close();
    return std::string();
  });
  test::expect_no_errors(results);
  EXPECT_EQ(test::fake_nccl_counts().joined, 4U * 2U * 2U);
  EXPECT_EQ(test::fake_nccl_counts().destroyed, 4U * 2U * 2U);
}

TEST(NcclSession, IsRefusedWhereARankHasNoNccl) {
  FakeNcclFaults missing;
  missing.missing = "libnccl.so.2: no such file";
  const auto body = [](World& world) {
    static_cast<void>(commit(world, plan_of(options_of(Path::nccl_plain))));
    return std::string();
  };
  expect_all(run(2, body, on_rank_1(missing)), ErrorCode::unsupported,
             {"the plan asks for NCCL", "rank 1: libnccl.so.2: no such file"});
  FakeNcclFaults older;
  older.version = 22'700;
  expect_all(run(2, body, on_all(older)), ErrorCode::unsupported, {"NCCL before 2.28.3"});
}

TEST(NcclSession, FailsOnAllRanksIfOneCannotConnectOrRegister) {
  FakeNcclFaults join;
  join.fails_to_join = true;
  FakeNcclFaults registration;
  registration.fails_to_register = true;
  for (const FakeNcclFaults& faults : {join, registration}) {
    const auto results = run(
        2,
        [](World& world) {
          static_cast<void>(commit(world, plan_of(options_of(Path::nccl_plain))));
          return std::string();
        },
        on_rank_1(faults));
    expect_all(results, ErrorCode::nccl, {"on rank 1", "fake NCCL: no socket"});
    EXPECT_EQ(test::fake_nccl_counts().aborted, 2U);
  }
}

TEST(NcclSession, AbortsWhatIsNotClosed) {
  const auto results = run(2, [](World& world) {
    Session session = commit(world, plan_of(options_of(Path::nccl_symmetric)));
    EXPECT_EQ(sum_ones(session), kSymmetric);
    meet(world);
    return std::string();
  });
  test::expect_no_errors(results);
  EXPECT_EQ(test::fake_nccl_counts().aborted, 2U);
  EXPECT_EQ(test::fake_nccl_counts().windows, 0U);
}

}  // namespace
}  // namespace cohort
