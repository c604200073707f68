// Every fault, replayed: the naive way fails as the field reports it, cohort does what it promises.

#include "faults/catalog.hpp"

#include <algorithm>
#include <ostream>
#include <set>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/clock.hpp"

namespace cohort::faults {
namespace {

using testing::HasSubstr;

struct Expected {
  std::string_view name;
  Outcome naive;
  std::vector<std::string> naive_parts;
  Outcome ours;
  std::vector<std::string> our_parts;
};

void PrintTo(const Expected& expected, std::ostream* stream) {
  *stream << expected.name;
}

const std::vector<Expected> kExpectations = {
    {"wrong-group",
     Outcome::slow,
     {"right results; all ranks: the call on tp copied 0 B, the one on attn_cp 64.0 KiB of 64.0 "
      "KiB",
      "nobody was told"},
     Outcome::refused,
     {"ranks 0, 2: rank 0 refused all_reduce", "ranks 1, 3: refused likewise", "'mlp_rows'",
      "host_direct, ok, 0 B copied"}},
    {"block-handed-on",
     Outcome::wrong,
     {"rank 0: element 0 of the sum over attn_cp is 3 instead of 5"},
     Outcome::right,
     {"the same bytes on attn_cp: right, host_direct, ok, 0 B copied",
      "allocated for group attn_cp, not for group tp"}},
    {"growth-in-flight",
     Outcome::hang,
     {"ranks 0-2: stuck in registering, hidden in allocate, of tp",
      "rank 3: stuck in waiting for its batch"},
     Outcome::right,
     {"over budget, nobody waits: right, host_staged, over_budget, 64.0 KiB copied", "rank 3",
      "Then all together: right, host_direct, ok, 0 B copied"}},
    {"allocation-order",
     Outcome::wrong,
     {"element 0 of the sum is"},
     Outcome::ended,
     {"all ranks: mismatch: ", "pool 0 block at 0", "pool 0 block at 65536"}},
    {"skipped-call",
     Outcome::wrong,
     {"element 0 of MLP of layer 0 is", "stuck in all_reduce, MLP of layer 1, of tp"},
     Outcome::ended,
     {"all ranks: mismatch: ", "rank 1"}},
    {"missing-call",
     Outcome::hang,
     {"ranks 0, 2, 3: stuck in all_reduce, MLP of layer 1, of tp"},
     Outcome::ended,
     {"all ranks: timeout: ", "rank 1"}},
    {"added-call",
     Outcome::wrong,
     {"element 0 of MLP of layer 0 is", "rank 1: stuck in all_reduce"},
     Outcome::ended,
     {"all ranks: mismatch: ", "rank 1"}},
    {"resized-call",
     Outcome::wrong,
     {"element 8192 of MLP of layer 0 is"},
     Outcome::ended,
     {"all ranks: mismatch: ", "65536 bytes", "32768 bytes"}},
    {"ragged-batch",
     Outcome::slow,
     {"the padded batch copied 0 B, the ragged one"},
     Outcome::right,
     {"all ranks: equal rows host_direct, ok, 0 B copied; ragged host_direct, ok, 0 B copied"}},
    {"lazy-first-use",
     Outcome::hang,
     {"stuck in first use of attn_cp: a rendezvous of world", "stuck in all_reduce of tp"},
     Outcome::right,
     {"sums over attn_cp and tp right, 0 registrations since commit"}},
    {"captured-buffer",
     Outcome::wrong,
     {"element 0 of the cached rows is 15 instead of 0.5"},
     Outcome::right,
     {"3 replays right, 8 buffers handed out meanwhile unchanged",
      "takes lease 0 of slot 'graph_rows' while it holds it"}},
    {"destructor",
     Outcome::hang,
     {"rank 1: stuck in deregistering, in a destructor, of tp",
      "ranks 0, 2, 3: stuck in waiting for the tokens of rank 1"},
     Outcome::ended,
     {"ranks 0, 2, 3: peer_failed: rank 1 dropped its session without closing it"}},
    {"dead-rank",
     Outcome::hang,
     {"rank 1: died of signal 9", "ranks 0, 2, 3: stuck in all_reduce 1 of tp"},
     Outcome::ended,
     {"ranks 0, 2, 3: peer_failed: ", "within ", "ms of its death"}},
};

class Replayed : public testing::TestWithParam<Expected> {};

TEST_P(Replayed, NaiveFailsAndCohortKeepsItsPromise) {
  const Expected& expected = GetParam();
  const auto all = all_faults();
  const auto fault =
      std::find_if(all.begin(), all.end(), [&](const Fault& f) { return f.name == expected.name; });
  ASSERT_NE(fault, all.end());
  const Setting setting{.scale = deadline_scale_from_environment()};
  const Replay seen = replay(*fault, setting);
  EXPECT_TRUE(seen.naive.as_said);
  EXPECT_EQ(to_string(seen.naive.outcome), to_string(expected.naive)) << seen.naive.text;
  for (const std::string& part : expected.naive_parts) {
    EXPECT_THAT(seen.naive.text, HasSubstr(part));
  }
  EXPECT_TRUE(seen.kept());
  EXPECT_EQ(to_string(seen.ours.outcome), to_string(expected.ours)) << seen.ours.text;
  for (const std::string& part : expected.our_parts) {
    EXPECT_THAT(seen.ours.text, HasSubstr(part));
  }
}

INSTANTIATE_TEST_SUITE_P(Faults, Replayed, testing::ValuesIn(kExpectations),
                         [](const testing::TestParamInfo<Expected>& param) {
                           std::string name(param.param.name);
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(Catalog, EveryFaultHasAnExpectationAndWords) {
  std::set<std::string_view> expected;
  for (const Expected& one : kExpectations) expected.insert(one.name);
  std::set<std::string_view> names;
  for (const Fault& fault : all_faults()) {
    EXPECT_TRUE(names.insert(fault.name).second) << fault.name << " twice";
    EXPECT_FALSE(fault.what.empty());
    EXPECT_FALSE(fault.engines.empty());
    EXPECT_TRUE(fault.why.ends_with('.')) << fault.name;
  }
  EXPECT_EQ(names, expected);
}

// The sets of ranks that a fault hits depend on their number; the verdicts do not.
TEST(Catalog, VerdictsHoldOnMoreRanks) {
  const Setting setting{.ranks = 6, .scale = deadline_scale_from_environment()};
  for (const Fault& fault : all_faults()) {
    if (fault.name != "wrong-group" && fault.name != "allocation-order") continue;
    const Replay seen = replay(fault, setting);
    EXPECT_TRUE(seen.naive.as_said) << seen.naive.text;
    EXPECT_TRUE(seen.kept()) << seen.ours.text;
  }
}

}  // namespace
}  // namespace cohort::faults
