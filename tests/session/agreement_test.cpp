// What happens when ranks do not do the same thing.

#include <array>
#include <functional>
#include <string>

#include <gtest/gtest.h>

#include <cohort/cohort.hpp>

#include "support/ranks.hpp"

namespace cohort {
namespace {

using test::RankMode;
using test::RankResult;

constexpr std::size_t kElements = 20'000;

struct Slots {
  SlotId first;
  SlotId second;
  SlotId attn_only;
};

Plan make_plan(const Layout& layout, Slots& slots, const PlanOptions& options = {}) {
  Plan plan(layout, options);
  const SlotSpec both{.groups = {GroupKind::tp, GroupKind::attn_cp},
                      .dtype = DType::f32,
                      .rows_max = kElements,
                      .row_elements = 1,
                      .depth = 2};
  slots.first = plan.slot("first", both);
  slots.second = plan.slot("second", both);
  SlotSpec narrow = both;
  narrow.groups = {GroupKind::attn_cp};
  slots.attn_only = plan.slot("attn_only", narrow);
  return plan;
}

using Body = std::function<void(Session&, const Slots&, WorldRank)>;

std::vector<RankResult> run(const Layout& layout, const Body& body,
                            const PlanOptions& options = {}) {
  return test::run_ranks(RankMode::threads, layout.world_size(), [&](World& world) {
    Slots slots;
    const Plan plan = make_plan(layout, slots, options);
    Session session = commit(world, plan);
    body(session, slots, world.rank());
    session.close();
    return std::string("done");
  });
}

void expect_all(const std::vector<RankResult>& results, ErrorCode code,
                const std::vector<std::string>& parts) {
  for (const RankResult& result : results) {
    ASSERT_TRUE(result.error.has_value());
    EXPECT_EQ(result.error->code(), code) << result.error->what();
    for (const std::string& part : parts) {
      EXPECT_NE(std::string(result.error->what()).find(part), std::string::npos)
          << "no '" << part << "' in: " << result.error->what();
    }
  }
}

const Layout kLayout{{.tp = 3}};

TEST(Agreement, SkippedCallIsAMismatchAtTheNextOne) {
  const auto results = run(kLayout, [](Session& session, const Slots& slots, WorldRank rank) {
    const Group tp = session.group(GroupKind::tp);
    const Buffer buffer = session.take(slots.first);
    if (rank != WorldRank{1}) static_cast<void>(tp.all_reduce(buffer.elements(8), ReduceOp::sum));
    static_cast<void>(tp.broadcast(buffer.elements(16), GroupRank{0}));
    static_cast<void>(tp.barrier());
  });
  expect_all(results, ErrorCode::mismatch,
             {"all_reduce(sum, f32, 32 bytes", "broadcast(root 0", "rank 1 called"});
}

TEST(Agreement, AnotherSizeIsAMismatch) {
  const auto results = run(kLayout, [](Session& session, const Slots& slots, WorldRank rank) {
    const std::size_t elements = rank == WorldRank{2} ? 9000 : 8000;
    const Buffer buffer = session.take(slots.first);
    static_cast<void>(
        session.group(GroupKind::tp).all_reduce(buffer.elements(elements), ReduceOp::sum));
  });
  expect_all(results, ErrorCode::mismatch, {"32000 bytes", "36000 bytes", "rank 2 called"});
}

TEST(Agreement, AnotherReductionOrTypeIsAMismatch) {
  const auto results = run(kLayout, [](Session& session, const Slots& slots, WorldRank rank) {
    const Buffer buffer = session.take(slots.first);
    const ReduceOp op = rank == WorldRank{0} ? ReduceOp::max : ReduceOp::sum;
    static_cast<void>(session.group(GroupKind::tp).all_reduce(buffer.elements(5), op));
  });
  expect_all(results, ErrorCode::mismatch, {"all_reduce(max", "all_reduce(sum"});

  const auto types = run(kLayout, [](Session& session, const Slots& slots, WorldRank rank) {
    Tensor operand = session.take(slots.first).elements(4);
    if (rank == WorldRank{0}) operand.dtype = DType::i32;
    static_cast<void>(session.group(GroupKind::tp).all_reduce(operand, ReduceOp::sum));
  });
  expect_all(types, ErrorCode::mismatch, {"i32, 16 bytes", "f32, 16 bytes"});
}

TEST(Agreement, AnotherEntryIsAMismatchOnEveryPath) {
  for (const std::size_t elements : {std::size_t{4}, kElements}) {
    const auto results = run(kLayout, [&](Session& session, const Slots& slots, WorldRank rank) {
      const Buffer first = session.take(slots.first);
      const Buffer second = session.take(slots.second);
      const Buffer& operand = rank == WorldRank{1} ? second : first;
      static_cast<void>(
          session.group(GroupKind::tp).all_reduce(operand.elements(elements), ReduceOp::sum));
    });
    expect_all(results, ErrorCode::mismatch, {"different entries", "slot 0", "slot 1"});
  }
}

TEST(Agreement, UnevenCountsMustBeTheSameOnAllRanks) {
  const auto results = run(kLayout, [](Session& session, const Slots& slots, WorldRank rank) {
    const Buffer in = session.take(slots.first);
    const Buffer out = session.take(slots.second);
    std::vector<std::size_t> counts = {5, 6, 7};
    if (rank == WorldRank{0}) counts = {5, 7, 6};
    static_cast<void>(
        session.group(GroupKind::tp)
            .all_gatherv(in.elements(counts[rank.index()]), out.elements(18), counts));
  });
  for (const RankResult& result : results) {
    ASSERT_TRUE(result.error.has_value());
    EXPECT_EQ(result.error->code(), ErrorCode::mismatch) << result.error->what();
  }
}

TEST(Agreement, OneMatrixOfAllToAllvOnAllRanks) {
  for (const std::size_t scale : {std::size_t{1}, std::size_t{1000}}) {
    const auto results = run(kLayout, [&](Session& session, const Slots& slots, WorldRank rank) {
      const Buffer in = session.take(slots.first);
      const Buffer out = session.take(slots.second);
      std::vector<std::size_t> counts = {0, 1, 2, 1, 0, 2, 2, 1, 0};
      if (rank == WorldRank{2}) counts = {0, 1, 2, 1, 1, 1, 2, 1, 0};  // its row and column hold
      for (std::size_t& count : counts) count *= scale;
      const std::array<std::size_t, 3> received = {3, 2, 4};
      const std::size_t arrives = rank == WorldRank{2} ? 3 : received[rank.index()];
      static_cast<void>(
          session.group(GroupKind::tp)
              .all_to_allv(in.elements(3 * scale), out.elements(arrives * scale), counts));
    });
    expect_all(results, ErrorCode::mismatch, {"all_to_allv(f32", "counts hash", "rank 2 called"});
  }
}

TEST(Agreement, AllToAllInPlaceIsRefusedOnEveryPathAndTheSessionLivesOn) {
  for (const Symmetry symmetry : {Symmetry::on, Symmetry::off}) {
    const auto results =
        run(kLayout,
            [](Session& session, const Slots& slots, WorldRank rank) {
              const Group tp = session.group(GroupKind::tp);
              for (const std::size_t elements : {std::size_t{3}, std::size_t{18'000}}) {
                const Tensor in = session.take(slots.first).elements(elements);
                Tensor out = session.take(slots.second).elements(elements);
                if (rank == WorldRank{1}) out = in;
                try {
                  static_cast<void>(tp.all_to_all(in, out));
                  ADD_FAILURE() << "no refusal on rank " << rank.index();
                } catch (const Error& error) {
                  EXPECT_EQ(error.code(), ErrorCode::usage);
                  EXPECT_EQ(error.rank(), WorldRank{1});
                  EXPECT_NE(std::string(error.what()).find("no in-place form"), std::string::npos)
                      << error.what();
                }
                static_cast<void>(tp.barrier());
              }
            },
            {.symmetry = symmetry});
    test::expect_no_errors(results);
  }
}

TEST(Agreement, RefusalReachesEveryMemberAndTheSessionLivesOn) {
  const auto results = run(kLayout, [](Session& session, const Slots& slots, WorldRank rank) {
    const Group tp = session.group(GroupKind::tp);
    const Buffer good = session.take(slots.first);
    const Buffer bad = session.take(slots.attn_only);
    for (const std::size_t elements : {std::size_t{4}, kElements}) {
      const Buffer& operand = rank == WorldRank{1} ? bad : good;
      try {
        static_cast<void>(tp.all_reduce(operand.elements(elements), ReduceOp::sum));
        ADD_FAILURE() << "no refusal on rank " << rank.index();
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::usage);
        EXPECT_EQ(error.rank(), WorldRank{1});
        EXPECT_NE(std::string(error.what()).find("slot 'attn_only'"), std::string::npos)
            << error.what();
        EXPECT_NE(std::string(error.what()).find("not planned for group tp"), std::string::npos);
      }
      const Buffer next = session.take(slots.second);
      for (std::size_t i = 0; i < elements; ++i) next.as<float>()[i] = 1;
      static_cast<void>(tp.all_reduce(next.elements(elements), ReduceOp::sum));
      EXPECT_EQ(next.as<float>()[elements - 1], 3);
    }
  });
  test::expect_no_errors(results);
}

// The refused rank takes the call for a small one, which moves with its header; the others had read
// their peers' memory. Their entries must come free all the same.
TEST(Agreement, RefusalOfACallOfAnotherSizeFreesTheEntriesOfTheOthers) {
  const auto results = run(kLayout, [](Session& session, const Slots& slots, WorldRank rank) {
    const Group tp = session.group(GroupKind::tp);
    const Buffer good = session.take(slots.first);
    std::vector<float> input(2), output(3);
    try {
      if (rank == WorldRank{1}) {
        static_cast<void>(tp.all_reduce({input.data(), input.size(), DType::f32},
                                        {output.data(), output.size(), DType::f32}, ReduceOp::sum));
      } else {
        static_cast<void>(tp.all_reduce(good.elements(kElements), ReduceOp::sum));
      }
      ADD_FAILURE() << "no refusal on rank " << rank.index();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::usage);
      EXPECT_EQ(error.rank(), WorldRank{1});
    }
    static_cast<void>(session.take(slots.first));
    const Buffer again = session.take(slots.first);  // the entry of the refused call
    std::fill_n(again.as<float>(), kElements, 1.0F);
    static_cast<void>(tp.all_reduce(again.elements(kElements), ReduceOp::sum));
    EXPECT_EQ(again.as<float>()[kElements - 1], 3);
  });
  test::expect_no_errors(results);
}

TEST(Agreement, StrayOperandIsStagedOnThatRankAlone) {
  const auto results = run(kLayout, [](Session& session, const Slots& slots, WorldRank rank) {
    const Group tp = session.group(GroupKind::tp);
    std::vector<float> stray(kElements, 1.0F);
    const Buffer buffer = session.take(slots.first);
    std::fill_n(buffer.as<float>(), kElements, 1.0F);
    Tensor operand = buffer.elements(kElements);
    if (rank == WorldRank{1}) operand.data = stray.data();
    const Verdict verdict = tp.all_reduce(operand, ReduceOp::sum);
    EXPECT_EQ(verdict.path, Path::host_direct);
    if (rank == WorldRank{1}) {
      EXPECT_EQ(verdict.reason, Reason::operand_not_in_heap);
      EXPECT_EQ(verdict.copied_bytes, kElements * sizeof(float));
    } else {
      EXPECT_EQ(verdict, (Verdict{Path::host_direct, Reason::ok, 0}));
    }
    EXPECT_EQ(static_cast<const float*>(operand.data)[kElements - 1], 3);
  });
  test::expect_no_errors(results);
}

TEST(Agreement, StrictTurnsAStrayOperandIntoAnErrorOnAllRanks) {
  const auto results =
      run(kLayout,
          [](Session& session, const Slots& slots, WorldRank rank) {
            std::vector<float> stray(kElements, 1.0F);
            Tensor operand = session.take(slots.first).elements(kElements);
            if (rank == WorldRank{1}) operand.data = stray.data();
            static_cast<void>(session.group(GroupKind::tp).all_reduce(operand, ReduceOp::sum));
          },
          {.strict = true});
  expect_all(results, ErrorCode::strict_miss, {"rank 1's operand", "operand_not_in_heap"});
}

TEST(Agreement, StrictRefusesADisabledHeapOnAllRanks) {
  const auto results = run(
      kLayout,
      [](Session& session, const Slots& slots, WorldRank) {
        static_cast<void>(session.group(GroupKind::tp)
                              .all_reduce(session.take(slots.first).elements(4), ReduceOp::sum));
      },
      {.symmetry = Symmetry::off, .strict = true});
  expect_all(results, ErrorCode::strict_miss, {"disabled", "host_staged"});
}

TEST(Agreement, OperandTooLargeToStageIsRefusedByAll) {
  const auto results = run(kLayout, [](Session& session, const Slots&, WorldRank rank) {
    std::vector<float> stray(kElements * 2);
    try {
      static_cast<void>(session.group(GroupKind::tp)
                            .all_reduce({stray.data(), stray.size(), DType::f32}, ReduceOp::sum));
      ADD_FAILURE() << "no refusal on rank " << rank.index();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::usage);
      EXPECT_NE(std::string(error.what()).find("larger than the largest one planned"),
                std::string::npos)
          << error.what();
    }
  });
  test::expect_no_errors(results);
}

TEST(Agreement, AReductionOfBytesIsRefusedByAllEvenWhereOneRankAloneAsksForIt) {
  const auto body = [](Session& session, const Slots& slots, WorldRank rank) {
    const Group tp = session.group(GroupKind::tp);
    EXPECT_EQ(session.explain(GroupKind::tp, Op::all_reduce, DType::f8e4m3, 64).reason,
              Reason::dtype_unsupported);
    EXPECT_EQ(session.explain(GroupKind::tp, Op::all_gather, DType::f8e4m3, 64).reason, Reason::ok);
    for (const bool all : {true, false}) {
      Tensor operand = session.take(slots.first).elements(16);
      if (all || rank == WorldRank{2}) operand = {operand.data, 64, DType::f8e4m3};
      try {
        static_cast<void>(tp.all_reduce(operand, ReduceOp::sum));
        ADD_FAILURE() << "no refusal on rank " << rank.index();
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::usage);
        const std::string text = error.what();
        EXPECT_NE(text.find("dtype_unsupported"), std::string::npos) << text;
        EXPECT_NE(text.find("no reduction of f8e4m3"), std::string::npos) << text;
      }
      static_cast<void>(tp.barrier());
    }
  };
  test::expect_no_errors(run(kLayout, body));
  test::expect_no_errors(run(kLayout, body, {.strict = true}));
}

TEST(Agreement, DifferentPlansAreNamedByTheirFirstDifferingEntry) {
  const auto results = test::run_ranks(RankMode::threads, 3, [](World& world) {
    Plan plan(kLayout);
    SlotSpec spec{.groups = {GroupKind::tp}, .rows_max = 64, .row_elements = 8};
    static_cast<void>(plan.slot("same", spec));
    if (world.rank() == WorldRank{2}) spec.rows_max = 128;
    static_cast<void>(plan.slot("kv", spec));
    Session session = commit(world, plan);
    return std::string();
  });
  expect_all(results, ErrorCode::mismatch,
             {"'kv'", "rank 2 declared", "rows_max 128", "ranks 0, 1 declared", "rows_max 64"});
}

TEST(Agreement, AFailedAllocationFailsTheCommitOnAllRanks) {
  const auto results = test::run_ranks(RankMode::threads, 2, [](World& world) {
    Plan plan(Layout{{.tp = 2}});
    static_cast<void>(plan.slot(
        "huge", {.groups = {GroupKind::tp}, .rows_max = std::size_t{1} << 36, .row_elements = 64}));
    try {
      Session session = commit(world, plan);
      ADD_FAILURE() << "16 TiB were committed";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::out_of_memory) << error.what();
    }
    // All or none leaves a world that can commit a plan that fits.
    Slots slots;
    Session session = commit(world, make_plan(Layout{{.tp = 2}}, slots));
    static_cast<void>(session.group(GroupKind::tp).barrier());
    session.close();
    return std::string();
  });
  test::expect_no_errors(results);
}

TEST(Agreement, ASessionDroppedWithoutCloseEndsTheOthers) {
  const auto results = test::run_ranks(RankMode::threads, 2, [](World& world) {
    Slots slots;
    Session session = commit(world, make_plan(Layout{{.tp = 2}}, slots));
    if (world.rank() == WorldRank{0}) return std::string("dropped");
    static_cast<void>(session.group(GroupKind::tp).barrier());
    return std::string();
  });
  EXPECT_FALSE(results[0].error.has_value());
  ASSERT_TRUE(results[1].error.has_value());
  EXPECT_EQ(results[1].error->code(), ErrorCode::peer_failed);
  EXPECT_EQ(results[1].error->rank(), WorldRank{0});
}

TEST(Agreement, GroupsThatNoSlotNamesDoNotExist) {
  const auto results = run(kLayout, [](Session& session, const Slots&, WorldRank) {
    EXPECT_THROW(static_cast<void>(session.group(GroupKind::moe_ep)), Error);
  });
  test::expect_no_errors(results);
}

}  // namespace
}  // namespace cohort
