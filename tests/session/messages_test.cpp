// send and recv between two members: order, waits, refusals and errors.

#include <algorithm>
#include <array>
#include <chrono>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include <cohort/cohort.hpp>

#include "support/ranks.hpp"

namespace cohort {
namespace {

using test::RankMode;
using test::RankResult;

constexpr std::size_t kElements = 20'000;
constexpr std::array<std::size_t, 2> kSizes = {5, kElements};  // through both paths
constexpr GroupRank kFirst{0};
constexpr GroupRank kSecond{1};

struct Slots {
  SlotId first;
  SlotId second;
  SlotId attn_only;
};

Plan make_plan(const Layout& layout, Slots& slots, const PlanOptions& options = {}) {
  Plan plan(layout, options);
  SlotSpec spec{.groups = {GroupKind::tp, GroupKind::attn_cp},
                .dtype = DType::f32,
                .rows_max = kElements,
                .row_elements = 1,
                .depth = 4};
  slots.first = plan.slot("first", spec);
  slots.second = plan.slot("second", spec);
  spec.groups = {GroupKind::attn_cp};
  slots.attn_only = plan.slot("attn_only", spec);
  plan.send_recv(GroupKind::tp);
  return plan;
}

using Body = std::function<void(Session&, const Slots&, WorldRank)>;

std::vector<RankResult> run(std::uint32_t ranks, const Body& body, const PlanOptions& options = {},
                            const WaitLimits& limits = test::patient_limits(),
                            RankMode mode = RankMode::threads) {
  return test::run_ranks(
      mode, ranks,
      [&](World& world) {
        Slots slots;
        Session session = commit(world, make_plan(Layout{{.tp = ranks}}, slots, options));
        body(session, slots, world.rank());
        session.close();
        return std::string("done");
      },
      limits);
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

/// Runs `call`, which must be refused with a text that holds all `parts`.
void expect_refusal(const std::function<void()>& call, WorldRank by,
                    const std::vector<std::string>& parts) {
  try {
    call();
    ADD_FAILURE() << "no refusal";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::usage) << error.what();
    EXPECT_EQ(error.rank(), by) << error.what();
    for (const std::string& part : parts) {
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos)
          << "no '" << part << "' in: " << error.what();
    }
  }
}

Tensor filled(const Buffer& buffer, std::size_t elements, float value) {
  std::fill_n(buffer.as<float>(), elements, value);
  return buffer.elements(elements);
}

void expect_value(const Tensor& tensor, float value) {
  const auto* data = static_cast<const float*>(tensor.data);
  for (std::size_t i = 0; i < tensor.elements; ++i) ASSERT_EQ(data[i], value) << "element " << i;
}

class Messages : public testing::TestWithParam<RankMode> {};

TEST_P(Messages, ArriveInOrderBothWaysAndFarAhead) {
  constexpr int kMessages = 40;
  const auto results = run(
      2,
      [](Session& session, const Slots& slots, WorldRank rank) {
        const Group tp = session.group(GroupKind::tp);
        const GroupRank peer{1 - rank.index()};
        for (int i = 0; i < kMessages; ++i) {
          const std::size_t elements = kSizes[static_cast<std::size_t>(i) % 2];
          const Tensor input = filled(session.take(slots.first), elements,
                                      static_cast<float>(i * 2 + static_cast<int>(rank.index())));
          static_cast<void>(tp.send(input, peer));
          // One message behind: so two are under way at times.
          if (i == 0) continue;
          const Tensor output =
              filled(session.take(slots.second), kSizes[static_cast<std::size_t>(i - 1) % 2], -1);
          static_cast<void>(tp.recv(output, peer));
          expect_value(output, static_cast<float>((i - 1) * 2 + static_cast<int>(peer.index())));
        }
        const Tensor last = session.take(slots.second).elements(kSizes[(kMessages - 1) % 2]);
        static_cast<void>(tp.recv(last, peer));
        expect_value(last,
                     static_cast<float>((kMessages - 1) * 2 + static_cast<int>(peer.index())));
      },
      {}, test::patient_limits(), GetParam());
  test::expect_no_errors(results);
}

TEST_P(Messages, OneWayDoesNotWaitForTheReceiver) {
  const auto results = run(
      2,
      [](Session& session, const Slots& slots, WorldRank rank) {
        const Group tp = session.group(GroupKind::tp);
        const Tensor first = filled(session.take(slots.first), kElements, 1);
        const Tensor second = filled(session.take(slots.first), 7, 2);
        if (rank == WorldRank{0}) {
          static_cast<void>(tp.send(first, kSecond));
          static_cast<void>(tp.send(second, kSecond));
        }
        // The receiver is not there before this barrier: both messages lie ready by then.
        static_cast<void>(tp.barrier());
        if (rank == WorldRank{1}) {
          const Tensor output = filled(session.take(slots.second), kElements, -1);
          static_cast<void>(tp.recv(output, kFirst));
          expect_value(output, 1);
          const Tensor small = filled(session.take(slots.second), 7, -1);
          static_cast<void>(tp.recv(small, kFirst));
          expect_value(small, 2);
        }
      },
      {}, test::patient_limits(), GetParam());
  test::expect_no_errors(results);
}

TEST_P(Messages, OfNoElementsAreStillMessages) {
  const auto results = run(
      3,
      [](Session& session, const Slots& slots, WorldRank rank) {
        const Group tp = session.group(GroupKind::tp);
        const GroupRank next{(rank.index() + 1) % 3};
        const GroupRank previous{(rank.index() + 2) % 3};
        for (int i = 0; i < 5; ++i) {
          static_cast<void>(tp.send({nullptr, 0, DType::bf16}, next));
          static_cast<void>(tp.recv({nullptr, 0, DType::bf16}, previous));
          static_cast<void>(tp.send(session.take(slots.first).elements(0), previous));
          static_cast<void>(tp.recv(session.take(slots.second).elements(0), next));
        }
      },
      {}, test::patient_limits(), GetParam());
  test::expect_no_errors(results);
}

INSTANTIATE_TEST_SUITE_P(Modes, Messages, testing::Values(RankMode::threads, RankMode::processes),
                         [](const auto& mode) { return test::to_string(mode.param); });

TEST(MessageWaits, AnEntryIsTakenAgainOnlyAfterItsReceiverHasRead) {
  const auto results = run(2, [](Session& session, const Slots& slots, WorldRank rank) {
    const Group tp = session.group(GroupKind::tp);
    // Depth 4, one message each time around the ring: `take` itself must wait.
    for (int i = 0; i < 100; ++i) {
      const Tensor message = filled(session.take(slots.first), kElements, static_cast<float>(i));
      for (int k = 0; k < 3; ++k)
        static_cast<void>(filled(session.take(slots.first), kElements, -2));
      if (rank == WorldRank{0}) {
        static_cast<void>(tp.send(message, kSecond));
        continue;
      }
      std::vector<float> output(kElements, -1);
      const Tensor to{output.data(), kElements, DType::f32};
      static_cast<void>(tp.recv(to, kFirst));
      expect_value(to, static_cast<float>(i));
    }
  });
  test::expect_no_errors(results);
}

TEST(MessageWaits, ACallOfAnotherGroupWaitsBeforeItWritesIntoASentEntry) {
  const auto results = run(2, [](Session& session, const Slots& slots, WorldRank rank) {
    const Group tp = session.group(GroupKind::tp);
    for (int i = 0; i < 50; ++i) {
      const Buffer buffer = session.take(slots.first);
      const Tensor operand = filled(buffer, kElements, static_cast<float>(i));
      if (rank == WorldRank{0}) {
        static_cast<void>(tp.send(operand, kSecond));
      } else {
        const Tensor output = session.take(slots.second).elements(kElements);
        static_cast<void>(tp.recv(output, kFirst));
        expect_value(output, static_cast<float>(i));
      }
      if (rank == WorldRank{0}) static_cast<void>(session.take(slots.second));
      static_cast<void>(tp.all_reduce(operand, ReduceOp::sum));
      expect_value(operand, static_cast<float>(2 * i));
    }
  });
  test::expect_no_errors(results);
}

TEST(MessageWaits, StagingIsUsedAgainOnlyOnceItsOwnReceiverHasReadIt) {
  const auto results = run(3, [](Session& session, const Slots& /*slots*/, WorldRank rank) {
    const Group tp = session.group(GroupKind::tp);
    std::vector<float> stray(kElements);
    const Tensor outside{stray.data(), kElements, DType::f32};
    for (int round = 0; round < 5; ++round) {
      const auto value = [&](int message) { return static_cast<float>(round * 3 + message); };
      const auto receive = [&](int message) {
        static_cast<void>(tp.recv(outside, kFirst));
        expect_value(outside, value(message));
      };
      if (rank == WorldRank{0}) {
        for (const int message : {0, 1, 2}) {
          std::fill(stray.begin(), stray.end(), value(message));
          static_cast<void>(tp.send(outside, message == 0 ? kSecond : GroupRank{2}));
        }
      } else if (rank == WorldRank{1}) {
        // Long enough for the third message to be sent, if it did not wait for the first.
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
        receive(0);
      } else {
        receive(1);
        receive(2);
      }
    }
  });
  test::expect_no_errors(results);
}

TEST(MessageWaits, ADeadlineNamesTheRankThatDoesNotReceive) {
  WaitLimits limits = test::patient_limits();
  limits.steady = std::chrono::milliseconds(300);
  limits.scale = 1;
  const auto late = run(
      2,
      [](Session& session, const Slots& slots, WorldRank rank) {
        const Group tp = session.group(GroupKind::tp);
        const Tensor message = session.take(slots.first).elements(3);
        if (rank == WorldRank{1}) return;  // waits in `close` for rank 0
        for (int i = 0; i < 3; ++i) static_cast<void>(tp.send(message, kSecond));
      },
      {}, limits);
  expect_all(late, ErrorCode::timeout, {"rank 1 has received message 1 from rank 0"});
}

TEST(MessageWaits, ADeadlineNamesTheRankThatDoesNotSend) {
  WaitLimits limits = test::patient_limits();
  limits.steady = std::chrono::milliseconds(300);
  limits.scale = 1;
  const auto results = run(
      3,
      [](Session& session, const Slots& slots, WorldRank rank) {
        if (rank == WorldRank{0}) return;
        const Group tp = session.group(GroupKind::tp);
        if (rank == WorldRank{1}) {
          static_cast<void>(tp.recv(session.take(slots.second).elements(3), GroupRank{2}));
        } else {
          static_cast<void>(session.take(slots.second));
        }
      },
      {}, limits);
  expect_all(results, ErrorCode::timeout, {"recv(2 to 1, f32, 12 bytes", "rank 2"});
}

TEST(MessageAgreement, AnotherSizeOrTypeIsAMismatchWithBothSides) {
  for (const std::size_t elements : kSizes) {
    const auto sizes = run(2, [&](Session& session, const Slots& slots, WorldRank rank) {
      const Group tp = session.group(GroupKind::tp);
      const Buffer buffer = session.take(slots.first);
      if (rank == WorldRank{0}) {
        static_cast<void>(tp.send(buffer.elements(elements), kSecond));
      } else {
        static_cast<void>(tp.recv(buffer.elements(elements - 1), kFirst));
      }
      static_cast<void>(tp.barrier());
    });
    expect_all(sizes, ErrorCode::mismatch,
               {"message 1 from rank 0 to rank 1", "rank 1 called recv(0 to 1, f32, ",
                "rank 0 called send(0 to 1, f32, "});
  }
  const auto types = run(2, [&](Session& session, const Slots& slots, WorldRank rank) {
    const Group tp = session.group(GroupKind::tp);
    Tensor operand = session.take(slots.first).elements(4);
    if (rank == WorldRank{0}) {
      static_cast<void>(tp.send(operand, kSecond));
    } else {
      operand.dtype = DType::i32;
      static_cast<void>(tp.recv(operand, kFirst));
    }
    static_cast<void>(tp.barrier());
  });
  expect_all(types, ErrorCode::mismatch, {"i32, 16 bytes", "f32, 16 bytes"});
}

TEST(MessageAgreement, ARefusalBySenderReachesTheReceiverAndThePairLivesOn) {
  const auto results = run(2, [](Session& session, const Slots& slots, WorldRank rank) {
    const Group tp = session.group(GroupKind::tp);
    for (const std::size_t elements : kSizes) {
      const Buffer good = session.take(slots.first);
      const Buffer bad = session.take(slots.attn_only);
      if (rank == WorldRank{0}) {
        expect_refusal([&] { static_cast<void>(tp.send(bad.elements(elements), kSecond)); },
                       WorldRank{0}, {"rank 0 refused send(0 to 1", "slot 'attn_only'"});
        static_cast<void>(tp.send(filled(good, elements, 3), kSecond));
      } else {
        expect_refusal([&] { static_cast<void>(tp.recv(good.elements(elements), kFirst)); },
                       WorldRank{0}, {"rank 0 refused recv(0 to 1", "slot 'attn_only'"});
        const Tensor output = filled(good, elements, -1);
        static_cast<void>(tp.recv(output, kFirst));
        expect_value(output, 3);
      }
    }
    static_cast<void>(tp.barrier());
  });
  test::expect_no_errors(results);
}

TEST(MessageAgreement, ARefusalByReceiverReachesTheNextSendWhichIsStillSent) {
  const auto results = run(2, [](Session& session, const Slots& slots, WorldRank rank) {
    const Group tp = session.group(GroupKind::tp);
    for (const std::size_t elements : kSizes) {
      const Buffer good = session.take(slots.first);
      const Buffer other = session.take(slots.second);
      const Buffer bad = session.take(slots.attn_only);
      if (rank == WorldRank{0}) {
        static_cast<void>(tp.send(filled(good, elements, 3), kSecond));
        static_cast<void>(tp.barrier());
        expect_refusal([&] { static_cast<void>(tp.send(filled(other, elements, 4), kSecond)); },
                       WorldRank{1}, {"rank 1 refused message", "from rank 0", "slot 'attn_only'"});
        static_cast<void>(tp.send(other.elements(elements), kSecond));  // shared: as it is
      } else {
        expect_refusal([&] { static_cast<void>(tp.recv(bad.elements(elements), kFirst)); },
                       WorldRank{1}, {"rank 1 refused recv(0 to 1", "slot 'attn_only'"});
        static_cast<void>(tp.barrier());
        for (int i = 0; i < 2; ++i) {
          const Tensor output = filled(other, elements, -1);
          static_cast<void>(tp.recv(output, kFirst));
          expect_value(output, 4);
        }
      }
      static_cast<void>(tp.barrier());
    }
  });
  test::expect_no_errors(results);
}

TEST(MessageAgreement, ARefusalByReceiverReachesTheTakeOfTheSentEntry) {
  const auto results = run(2, [](Session& session, const Slots& slots, WorldRank rank) {
    const Group tp = session.group(GroupKind::tp);
    const Buffer good = session.take(slots.first);
    const Buffer bad = session.take(slots.attn_only);
    if (rank == WorldRank{0}) {
      static_cast<void>(tp.send(filled(good, kElements, 3), kSecond));
    } else {
      expect_refusal([&] { static_cast<void>(tp.recv(bad.elements(kElements), kFirst)); },
                     WorldRank{1}, {"slot 'attn_only'"});
    }
    for (int i = 0; i < 3; ++i) static_cast<void>(session.take(slots.first));
    const auto take = [&] { static_cast<void>(session.take(slots.first)); };
    if (rank == WorldRank{0}) {
      expect_refusal(take, WorldRank{1}, {"rank 1 refused message 1 from rank 0"});
    } else {
      take();
    }
    static_cast<void>(tp.barrier());
  });
  test::expect_no_errors(results);
}

TEST(MessageAgreement, WhatIsNoMessageOfTheGroupIsRefusedAtOnce) {
  const auto results = run(2, [](Session& session, const Slots& slots, WorldRank rank) {
    const Tensor operand = session.take(slots.first).elements(3);
    const Group tp = session.group(GroupKind::tp);
    const Group cp = session.group(GroupKind::attn_cp);
    const auto refused = [](const std::function<void()>& call, const std::string& part) {
      try {
        call();
        ADD_FAILURE() << "no refusal";
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::usage);
        EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
      }
    };
    refused([&] { static_cast<void>(tp.send(operand, GroupRank{2})); },
            "group rank 2 in a group of 2");
    refused([&] { static_cast<void>(tp.recv(operand, GroupRank{rank.index()})); },
            "the calling rank itself");
    refused([&] { static_cast<void>(cp.send(operand, GroupRank{0})); }, "Plan::send_recv");
    static_cast<void>(tp.barrier());
  });
  test::expect_no_errors(results);
}

TEST(MessageVerdicts, SayWhatWasCopiedAndTheLedgerKeepsThem) {
  for (const Symmetry symmetry : {Symmetry::on, Symmetry::off}) {
    const auto results =
        run(2,
            [&](Session& session, const Slots& slots, WorldRank rank) {
              const Group tp = session.group(GroupKind::tp);
              const Reason wanted = symmetry == Symmetry::on ? Reason::ok : Reason::disabled;
              EXPECT_EQ(session.explain(GroupKind::tp, Op::send, DType::f32, 4 * kElements),
                        session.explain(GroupKind::tp, Op::recv, DType::f32, 4 * kElements));
              std::vector<float> stray(kElements, 5);
              const Tensor outside{stray.data(), kElements, DType::f32};
              const Tensor inside = session.take(slots.first).elements(kElements);
              if (rank == WorldRank{0}) {
                const Verdict direct = tp.send(inside, kSecond);
                EXPECT_EQ(direct.reason, wanted);
                EXPECT_EQ(direct.copied_bytes, symmetry == Symmetry::on ? 0U : 4 * kElements);
                const Verdict staged = tp.send(outside, kSecond);
                EXPECT_EQ(staged.copied_bytes, 4 * kElements);
                EXPECT_EQ(staged.reason, symmetry == Symmetry::on ? Reason::operand_not_in_heap
                                                                  : Reason::disabled);
              } else {
                for (int i = 0; i < 2; ++i) {
                  const Verdict verdict = tp.recv(outside, kFirst);
                  EXPECT_EQ(verdict.reason, wanted);
                  EXPECT_EQ(verdict.copied_bytes, 0U);
                }
              }
              std::uint64_t calls = 0;
              for (const LedgerRow& row : session.ledger()) {
                EXPECT_EQ(row.op, rank == WorldRank{0} ? Op::send : Op::recv);
                EXPECT_EQ(row.bytes, row.calls * 4 * kElements);
                calls += row.calls;
              }
              EXPECT_EQ(calls, 2U);
            },
            {.symmetry = symmetry});
    test::expect_no_errors(results);
  }
}

TEST(MessageVerdicts, StrictTurnsAStrayOperandIntoAnErrorOnBothSides) {
  const auto results =
      run(2,
          [](Session& session, const Slots& slots, WorldRank rank) {
            const Group tp = session.group(GroupKind::tp);
            std::vector<float> stray(kElements, 5);
            const Tensor outside{stray.data(), kElements, DType::f32};
            if (rank == WorldRank{0}) {
              static_cast<void>(tp.send(outside, kSecond));
            } else {
              static_cast<void>(tp.recv(session.take(slots.first).elements(kElements), kFirst));
            }
          },
          {.strict = true});
  expect_all(results, ErrorCode::strict_miss, {"rank 0's operand", "operand_not_in_heap"});
}

TEST(MessageVerdicts, AnOperandTooLargeToStageIsRefusedOnBothSides) {
  const auto results = run(2, [](Session& session, const Slots& /*slots*/, WorldRank rank) {
    const Group tp = session.group(GroupKind::tp);
    std::vector<float> stray(kElements * 2);
    const Tensor outside{stray.data(), stray.size(), DType::f32};
    expect_refusal(
        [&] {
          static_cast<void>(rank == WorldRank{0} ? tp.send(outside, kSecond)
                                                 : tp.recv(outside, kFirst));
        },
        WorldRank{0}, {"larger than the largest one planned"});
  });
  test::expect_no_errors(results);
}

TEST(MessageVerdicts, ThePlanMayAskForMoreStagingAndForMessagesAlone) {
  const auto results = test::run_ranks(RankMode::threads, 2, [](World& world) {
    Plan plan(Layout{{.tp = 2}}, {.lanes = 2});
    plan.send_recv(GroupKind::tp, {.staged_bytes_max = 8 * kElements});
    Session session = commit(world, plan);
    EXPECT_EQ(session.measured_bytes(), footprint(plan).planned_bytes(world.rank()));
    const Group tp = session.group(GroupKind::tp);
    std::vector<float> operand(kElements * 2, static_cast<float>(world.rank().index()));
    const Tensor all{operand.data(), operand.size(), DType::f32};
    const GroupRank peer{1 - world.rank().index()};
    for (const std::uint32_t lane : {0U, 1U, 1U, 0U}) {
      static_cast<void>(tp.send(all, peer, Lane{lane}));
    }
    for (const std::uint32_t lane : {1U, 1U, 0U, 0U}) {
      std::vector<float> output(kElements * 2, -1);
      const Tensor to{output.data(), output.size(), DType::f32};
      static_cast<void>(tp.recv(to, peer, Lane{lane}));
      expect_value(to, static_cast<float>(peer.index()));
    }
    session.close();
    return std::string("done");
  });
  test::expect_no_errors(results);
}

// Whatever the machine, a call cannot have taken longer than the program that made it.
TEST(Messages, TheLedgersTimesLieWithinTheTimeThatPassed) {
  const auto results = run(2, [](Session& session, const Slots& slots, WorldRank rank) {
    const Group tp = session.group(GroupKind::tp);
    const auto began = std::chrono::steady_clock::now();
    for (const std::size_t elements : kSizes) {
      const Buffer rows = session.take(slots.first);
      if (rank == WorldRank{0}) static_cast<void>(tp.send(rows.elements(elements), kSecond));
      if (rank == WorldRank{1}) static_cast<void>(tp.recv(rows.elements(elements), kFirst));
      static_cast<void>(
          tp.all_reduce(session.take(slots.second).elements(elements), ReduceOp::sum));
    }
    const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - began;
    double booked_s = 0;
    for (const LedgerRow& row : session.ledger()) {
      EXPECT_GE(row.transfer_s, 0) << to_string(row.op);
      booked_s += row.transfer_s + row.wait_s;
    }
    EXPECT_GT(booked_s, 0);
    EXPECT_LE(booked_s, 2 * passed.count() + 1) << "of both clocks, with room for their rates";
  });
  test::expect_no_errors(results);
}

}  // namespace
}  // namespace cohort
