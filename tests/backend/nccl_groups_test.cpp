#include "backend/cuda/nccl/nccl_groups.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <optional>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backend/cuda/nccl/patient_end.hpp"
#include "backend/host/domain.hpp"
#include "support/fake_nccl.hpp"
#include "support/ranks.hpp"

namespace cohort::cuda {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using test::FakeNcclFaults;
using test::RankMode;
using testing::HasSubstr;
using testing::IsEmpty;

std::vector<WorldRank> ranks_of(std::initializer_list<std::uint32_t> indices) {
  std::vector<WorldRank> ranks;
  for (const std::uint32_t index : indices) ranks.emplace_back(index);
  return ranks;
}

/// Three groups that overlap, as tp 4 over pairs along two other axes.
std::vector<NcclGroupSpec> overlapping_groups() {
  return {{"tp", ranks_of({0, 1, 2, 3})},
          {"attn_tp", ranks_of({0, 1})},
          {"attn_tp", ranks_of({2, 3})},
          {"attn_cp", ranks_of({0, 2})},
          {"attn_cp", ranks_of({1, 3})}};
}

std::vector<NcclGroupSpec> one_group() {
  return {{"tp", ranks_of({0, 1})}};
}

NcclOptions options_for(World& world, milliseconds limit = seconds(60)) {
  NcclOptions options;
  options.device_name = "device " + std::to_string(world.rank().index());
  options.deadline = world.domain().deadline_after(limit);
  return options;
}

class NcclGroupsTest : public testing::Test {
 protected:
  void SetUp() override { test::reset_fake_nccl(); }

  static std::vector<test::RankResult> run(std::uint32_t count, const test::RankBody& body,
                                           const WaitLimits& limits = test::patient_limits()) {
    return test::run_ranks(
        RankMode::threads, count,
        [&](World& world) {
          test::set_fake_nccl_faults({});
          return body(world);
        },
        limits);
  }
};

/// A rank's arena of two segments.
struct Arena {
  std::array<std::int32_t, 1024> first{};
  std::array<std::int32_t, 1024> second{};
  std::vector<NcclSegment> segments() {
    return {{reinterpret_cast<Address>(first.data()), sizeof first},
            {reinterpret_cast<Address>(second.data()), sizeof second}};
  }
};

nccl::Call call_of(Op op, std::uint64_t count, const std::int32_t* input, std::int32_t* output) {
  nccl::Call call{};
  call.op = op;
  call.dtype = DType::i32;
  call.count = count;
  call.input = reinterpret_cast<Address>(input);
  call.output = reinterpret_cast<Address>(output);
  return call;
}

TEST_F(NcclGroupsTest, connect_groups_that_overlap_and_run_calls_on_each) {
  const auto results = run(4, [](World& world) -> std::string {
    Arena arena;
    const auto specs = overlapping_groups();
    const auto groups = NcclGroups::establish(world.domain(), &test::fake_nccl(), specs,
                                              arena.segments(), options_for(world));
    EXPECT_THAT(groups->support().refusal, IsEmpty());
    EXPECT_THAT(groups->support().windows_refusal, IsEmpty());
    EXPECT_GT(groups->device_bytes(), 0U);
    const auto mine = static_cast<std::int32_t>(world.rank().index());
    for (std::size_t group = 0; group < specs.size(); ++group) {
      EXPECT_THAT(groups->refusal(group), IsEmpty());
      const auto& ranks = specs[group].ranks;
      if (std::ranges::find(ranks, world.rank()) == ranks.end()) {
        EXPECT_THROW(groups->run(group, call_of(Op::all_gather, 1, nullptr, nullptr)), Error);
        continue;
      }
      arena.first[0] = mine;
      groups->run(group, call_of(Op::all_gather, 1, arena.first.data(), arena.second.data()));
      for (std::size_t i = 0; i < ranks.size(); ++i) {
        EXPECT_EQ(arena.second[i], static_cast<std::int32_t>(ranks[i].index()));
      }
      groups->warm(group, call_of(Op::all_reduce, 256, arena.first.data(), arena.second.data()),
                   world.domain().deadline_after(seconds(60)));
    }
    groups->close(world.domain().deadline_after(seconds(60)));
    return {};
  });
  test::expect_no_errors(results);
  const test::FakeNcclCounts counts = test::fake_nccl_counts();
  EXPECT_EQ(counts.joined, 12U);
  EXPECT_EQ(counts.destroyed, 12U);
  EXPECT_EQ(counts.aborted, 0U);
  EXPECT_EQ(counts.windows, 0U);
  // A gather and counts 256, 64, 16, 4, 1 of the largest call, of every member of every group.
  EXPECT_EQ(counts.calls, 12U * 6U);
}

TEST_F(NcclGroupsTest, know_which_path_a_call_takes) {
  const auto results = run(2, [](World& world) -> std::string {
    Arena arena;
    const auto segments = arena.segments();
    const auto groups = NcclGroups::establish(world.domain(), &test::fake_nccl(), one_group(),
                                              std::span(segments).first(1), options_for(world));
    const auto begin = reinterpret_cast<Address>(arena.first.data());
    EXPECT_TRUE(groups->is_in_window(begin, sizeof arena.first));
    EXPECT_TRUE(groups->is_in_window(begin + sizeof arena.first, 0));
    EXPECT_FALSE(groups->is_in_window(begin + 1, sizeof arena.first));
    EXPECT_FALSE(groups->is_in_window(begin - 1, 1));
    EXPECT_FALSE(groups->is_in_window(begin, ~std::uint64_t{0}));
    EXPECT_FALSE(groups->is_in_window(reinterpret_cast<Address>(arena.second.data()), 4));

    nccl::PathQuery query;
    query.op = Op::all_gather;
    EXPECT_EQ(groups->path(0, query).path, nccl::CallPath::plain);
    query.input_in_window = query.output_in_window = true;
    EXPECT_EQ(groups->path(0, query).path, nccl::CallPath::symmetric);

    groups->extend(std::span(segments).last(1), world.domain().deadline_after(seconds(60)), false);
    EXPECT_TRUE(groups->is_in_window(reinterpret_cast<Address>(arena.second.data()), 4));
    groups->shrink_to(1);
    EXPECT_FALSE(groups->is_in_window(reinterpret_cast<Address>(arena.second.data()), 4));
    EXPECT_TRUE(groups->is_in_window(begin, 4));
    groups->close(world.domain().deadline_after(seconds(60)));
    return {};
  });
  test::expect_no_errors(results);
  EXPECT_EQ(test::fake_nccl_counts().windows, 0U);
}

TEST_F(NcclGroupsTest, refuse_plain_calls_where_a_rank_lets_nccl_register_operands) {
  const auto results = run(2, [](World& world) -> std::string {
    FakeNcclFaults faults;
    faults.registers_operands = world.rank().index() == 1;
    test::set_fake_nccl_faults(faults);
    Arena arena;
    const auto groups = NcclGroups::establish(world.domain(), &test::fake_nccl(), one_group(),
                                              arena.segments(), options_for(world));
    nccl::PathQuery query;
    query.op = Op::all_gather;
    EXPECT_EQ(groups->path(0, query).path, nccl::CallPath::refused);
    EXPECT_THAT(std::string(groups->path(0, query).reason), HasSubstr("NCCL_GRAPH_REGISTER=0"));
    query.input_in_window = query.output_in_window = true;
    EXPECT_EQ(groups->path(0, query).path, nccl::CallPath::symmetric);
    groups->close(world.domain().deadline_after(seconds(60)));
    return {};
  });
  test::expect_no_errors(results);
}

TEST_F(NcclGroupsTest, are_refused_alike_on_all_ranks_where_one_cannot) {
  struct Case {
    FakeNcclFaults faults;  ///< of rank 1
    const char* refusal;
    const char* windows_refusal;
  };
  FakeNcclFaults missing;
  missing.missing = "no NCCL: not found";
  FakeNcclFaults newer;
  newer.version = 22'902;
  FakeNcclFaults windowless;
  windowless.gives_no_windows = true;
  const std::vector<Case> cases = {
      {missing, "rank 1: no NCCL: not found", ""},
      {newer, "rank 1 has 2.29.2", ""},
      {windowless, "", "rank 1: NCCL gives no window"},
  };
  for (const Case& each : cases) {
    const auto results = run(2, [&](World& world) -> std::string {
      if (world.rank().index() == 1) test::set_fake_nccl_faults(each.faults);
      Arena arena;
      const auto groups = NcclGroups::establish(world.domain(), &test::fake_nccl(), one_group(),
                                                arena.segments(), options_for(world));
      EXPECT_THAT(groups->support().refusal, HasSubstr(each.refusal));
      EXPECT_THAT(groups->support().windows_refusal, HasSubstr(each.windows_refusal));
      nccl::PathQuery query;
      query.op = Op::all_gather;
      query.input_in_window = query.output_in_window = true;
      const bool usable = groups->support().refusal.empty();
      EXPECT_EQ(groups->path(0, query).path,
                usable ? nccl::CallPath::plain : nccl::CallPath::refused);
      EXPECT_FALSE(groups->is_in_window(reinterpret_cast<Address>(arena.first.data()), 4));
      groups->close(world.domain().deadline_after(seconds(60)));
      return {};
    });
    test::expect_no_errors(results);
    EXPECT_EQ(test::fake_nccl_counts().windows, 0U);
  }
}

TEST_F(NcclGroupsTest, need_a_plugin_with_nccl_and_a_device_for_each_rank) {
  const auto results = run(2, [](World& world) -> std::string {
    Arena arena;
    const auto without = NcclGroups::establish(
        world.domain(), world.rank().index() == 1 ? nullptr : &test::fake_nccl(), one_group(),
        arena.segments(), options_for(world));
    EXPECT_THAT(without->support().refusal, HasSubstr("rank 1: the GPU plugin was built without"));

    NcclOptions shared = options_for(world);
    shared.device_name = "device 0";
    const auto crowded = NcclGroups::establish(world.domain(), &test::fake_nccl(), one_group(),
                                               arena.segments(), shared);
    EXPECT_THAT(crowded->support().refusal, IsEmpty());
    EXPECT_THAT(crowded->refusal(0), HasSubstr("ranks 0 and 1 are on one device"));
    EXPECT_EQ(crowded->path(0, {}).path, nccl::CallPath::refused);
    crowded->close(world.domain().deadline_after(seconds(60)));
    return {};
  });
  test::expect_no_errors(results);
  EXPECT_EQ(test::fake_nccl_counts().joined, 0U);
}

TEST_F(NcclGroupsTest, fail_with_one_cause_where_a_rank_cannot_connect_or_register) {
  FakeNcclFaults join;
  join.fails_to_join = true;
  FakeNcclFaults registration;
  registration.fails_to_register = true;
  for (const FakeNcclFaults& faults : {join, registration}) {
    test::reset_fake_nccl();
    const auto results = run(4, [&](World& world) -> std::string {
      if (world.rank().index() == 2) test::set_fake_nccl_faults(faults);
      Arena arena;
      (void)NcclGroups::establish(world.domain(), &test::fake_nccl(), overlapping_groups(),
                                  arena.segments(), options_for(world));
      return {};
    });
    for (const auto& result : results) {
      ASSERT_TRUE(result.error);
      EXPECT_EQ(result.error->code(), ErrorCode::nccl) << result.error->what();
      EXPECT_THAT(result.error->what(), HasSubstr("on rank 2: fake NCCL: no socket"));
      EXPECT_EQ(result.error->rank(), WorldRank{2});
    }
    EXPECT_EQ(test::fake_nccl_counts().joined, 12U);
    EXPECT_EQ(test::fake_nccl_counts().aborted, 12U);
    EXPECT_EQ(test::fake_nccl_counts().windows, 0U);
  }
}

TEST_F(NcclGroupsTest, end_by_the_deadline_where_nccl_never_comes_back) {
  FakeNcclFaults join;
  join.never_joins = true;
  FakeNcclFaults registration;
  registration.never_registers = true;
  for (const FakeNcclFaults& faults : {join, registration}) {
    test::reset_fake_nccl();
    const auto results = run(2, [&](World& world) -> std::string {
      if (world.rank().index() == 1) test::set_fake_nccl_faults(faults);
      Arena arena;
      (void)NcclGroups::establish(world.domain(), &test::fake_nccl(), one_group(), arena.segments(),
                                  options_for(world, milliseconds(300)));
      return {};
    });
    for (const auto& result : results) {
      ASSERT_TRUE(result.error);
      EXPECT_EQ(result.error->code(), ErrorCode::timeout) << result.error->what();
      EXPECT_THAT(result.error->what(), HasSubstr("letting NCCL"));
    }
    EXPECT_EQ(test::fake_nccl_counts().aborted, test::fake_nccl_counts().joined);
  }
}

TEST_F(NcclGroupsTest, name_the_rank_that_never_comes) {
  std::atomic<bool> over{false};
  const auto results = run(3, [&](World& world) -> std::string {
    if (world.rank().index() == 1) {
      while (!over) std::this_thread::sleep_for(milliseconds(1));
      return {};
    }
    Arena arena;
    try {
      (void)NcclGroups::establish(world.domain(), &test::fake_nccl(), one_group(), arena.segments(),
                                  options_for(world, milliseconds(300)));
    } catch (...) {
      over = true;
      throw;
    }
    return {};
  });
  for (const std::uint32_t rank : {0U, 2U}) {
    ASSERT_TRUE(results[rank].error);
    EXPECT_EQ(results[rank].error->code(), ErrorCode::timeout);
    EXPECT_EQ(results[rank].error->rank(), WorldRank{1});
  }
  EXPECT_EQ(test::fake_nccl_counts().joined, 0U);
}

TEST_F(NcclGroupsTest, end_with_the_fault_of_a_rank_that_gives_up_meanwhile) {
  const auto results = run(3, [](World& world) -> std::string {
    FakeNcclFaults stuck;
    stuck.never_joins = true;
    test::set_fake_nccl_faults(stuck);
    std::thread failing;
    if (world.rank().index() == 2) {
      failing = std::thread([&] {
        while (test::fake_nccl_counts().joined < 2) std::this_thread::sleep_for(milliseconds(1));
        world.fail(Error(ErrorCode::out_of_memory, "no weights", WorldRank{2}));
      });
    }
    Arena arena;
    std::optional<Error> thrown;
    try {
      (void)NcclGroups::establish(world.domain(), &test::fake_nccl(), one_group(), arena.segments(),
                                  options_for(world));
    } catch (const Error& error) {
      thrown = error;
    }
    if (failing.joinable()) failing.join();
    if (thrown) throw Error(*thrown);
    return {};
  });
  for (const auto& result : results) {
    ASSERT_TRUE(result.error);
    EXPECT_THAT(result.error->what(), HasSubstr("no weights"));
  }
  EXPECT_EQ(test::fake_nccl_counts().aborted, 2U);
}

TEST_F(NcclGroupsTest, poison_nobody_within_an_attempt) {
  const auto results = run(2, [](World& world) -> std::string {
    Arena arena;
    const auto segments = arena.segments();
    const auto groups = NcclGroups::establish(world.domain(), &test::fake_nccl(), one_group(),
                                              std::span(segments).first(1), options_for(world));
    host::Domain& domain = world.domain();
    if (world.rank().index() == 0) {
      FakeNcclFaults faults;
      faults.fails_to_register = true;
      test::set_fake_nccl_faults(faults);
    }
    domain.begin_attempt();
    std::string text;
    try {
      try {
        groups->extend(std::span(segments).last(1), domain.deadline_after(seconds(60)), true);
        ADD_FAILURE() << "extended";
      } catch (const Error& error) {
        domain.abort_attempt(error);
      }
    } catch (const Error& error) {
      text = error.what();
    }
    domain.all_gather({}, "after the attempt", domain.deadline_after(seconds(60)));
    EXPECT_FALSE(domain.poisoned());
    EXPECT_THAT(text, HasSubstr("on rank 0: fake NCCL: no socket"));
    return {};
  });
  test::expect_no_errors(results);
}

TEST_F(NcclGroupsTest, abort_what_was_not_closed) {
  const auto results = run(2, [](World& world) -> std::string {
    Arena arena;
    (void)NcclGroups::establish(world.domain(), &test::fake_nccl(), one_group(), arena.segments(),
                                options_for(world));
    return {};
  });
  test::expect_no_errors(results);
  EXPECT_EQ(test::fake_nccl_counts().aborted, 2U);
  EXPECT_EQ(test::fake_nccl_counts().destroyed, 0U);
}

TEST(PatientEnd, leaves_work_behind_that_does_not_end) {
  using Clock = std::chrono::steady_clock;
  EXPECT_TRUE(end_within(Clock::now() + seconds(600), [] {}));
  const auto release = std::make_shared<std::atomic<bool>>(false);
  const auto ended = std::make_shared<std::atomic<bool>>(false);
  EXPECT_FALSE(end_within(Clock::now() + milliseconds(5), [release, ended] {
    while (!*release) std::this_thread::sleep_for(milliseconds(1));
    *ended = true;
  }));
  *release = true;
  while (!*ended) std::this_thread::sleep_for(milliseconds(1));
}

}  // namespace
}  // namespace cohort::cuda
