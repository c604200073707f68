#include "report/job_document.hpp"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "report/sample_job.hpp"

namespace cohort {
namespace {

using Json = nlohmann::ordered_json;

Json document_of(const LayoutSizes& sizes) {
  const test::SampleJob job = test::sample_job(sizes, 3);
  return job_document(job.plan, job.communication, job.timelines, {{"prompts", Json::array()}});
}

TEST(JobDocument, HoldsAllThatThePageShows) {
  const Json document = document_of({.tp = 4, .attn_dp = 2, .attn_cp = 2});
  EXPECT_EQ(document.at("schema"), 1);
  EXPECT_EQ(document.at("kind"), "generate");
  EXPECT_EQ(document.at("layout").at("world"), 4);
  EXPECT_EQ(document.at("layout").at("groups").at("attn_cp"), Json::parse("[[0,1],[2,3]]"));
  EXPECT_EQ(document.at("plan").at("footprint").at("planned_bytes").size(), 4U);
  EXPECT_EQ(document.at("run").at("prompts").size(), 0U);
  for (const Json& row : document.at("communication")) {
    bool explained = false;
    for (const Json& reason : document.at("reasons")) {
      explained = explained || reason.at("reason") == row.at("reason");
    }
    EXPECT_TRUE(explained) << row;
  }
}

TEST(JobDocument, TimelineAndLedgerTellTheSame) {
  const test::SampleJob job = test::sample_job({.tp = 2}, 5);
  const Json timeline = timeline_json(job.timelines);
  for (const Json& rank : timeline.at("ranks")) {
    double wait_us = 0;
    double move_us = 0;
    double end_us = 0;
    for (const Json& call : rank.at("calls")) {
      EXPECT_GE(call.at(0).get<double>(), end_us);
      end_us = call.at(0).get<double>() + call.at(1).get<double>();
      EXPECT_LE(end_us, timeline.at("end_us").get<double>() + 1e-3);
      wait_us += call.at(2).get<double>();
      move_us += call.at(1).get<double>() - call.at(2).get<double>();
      EXPECT_LT(call.at(3).get<std::size_t>(), timeline.at("keys").size());
    }
    EXPECT_NEAR(rank.at("wait_us").get<double>(), wait_us, 0.1);
    EXPECT_NEAR(rank.at("move_us").get<double>(), move_us, 0.1);
  }
  EXPECT_EQ(timeline.at("ranks").at(0).at("dropped"), 12);
  EXPECT_EQ(timeline.at("ranks").at(0).at("calls").size(), 20U);
}

TEST(JobDocument, OfNoCallsIsStillOne) {
  const Json timeline = timeline_json({});
  EXPECT_EQ(timeline.at("end_us"), 0);
  EXPECT_TRUE(timeline.at("ranks").empty());
}

TEST(JobDocument, SaysOfEveryReasonWhatToDo) {
  for (std::size_t i = 0; i < kReasonCount; ++i) {
    const auto reason = static_cast<Reason>(i);
    const ReasonWords words = words_of(reason);
    EXPECT_FALSE(words.meaning.empty());
    const bool as_promised = reason == Reason::ok || reason == Reason::group_size_one;
    EXPECT_EQ(words.todo.empty(), as_promised) << to_string(reason);
  }
  const ReasonWords budget = words_of(Reason::over_budget);
  EXPECT_EQ(budget.todo, "plan a larger pool (generate: --pool)");
}

TEST(JobDocument, ShowsThePlacementsOfEachBoundary) {
  const Json steps = boundaries_json(Layout{{.tp = 4, .attn_dp = 2, .attn_cp = 2}});
  ASSERT_EQ(steps.size(), 2U) << "with context parallelism prefill and decode differ";
  EXPECT_EQ(steps.at(0).at("rows"), 8);
  const Json& kv = steps.at(0).at("boundaries").at(0);
  EXPECT_EQ(kv.at("name"), "kv_rows");
  EXPECT_EQ(kv.at("before").at("placement"), "{attn_dp, attn_cp}");
  EXPECT_EQ(kv.at("before").at("ranges"), Json::parse("[[0,2],[2,2],[4,2],[6,2]]"));
  ASSERT_EQ(kv.at("steps").size(), 1U);
  EXPECT_EQ(kv.at("steps").at(0).at("kind"), "all_gather");
  EXPECT_EQ(kv.at("steps").at(0).at("group"), "attn_cp");
  EXPECT_EQ(kv.at("after").at("ranges"), Json::parse("[[0,4],[0,4],[4,4],[4,4]]"));
  const Json& output = steps.at(1).at("boundaries").at(3);
  EXPECT_EQ(output.at("name"), "mlp_output");
  EXPECT_EQ(output.at("before").at("owes"), "tp");
  EXPECT_EQ(output.at("after").at("owes"), nullptr);
}

TEST(JobDocument, OfOneRankHasBoundariesThatMoveNothing) {
  const Json steps = boundaries_json(Layout{LayoutSizes{}});
  ASSERT_EQ(steps.size(), 1U);
  for (const Json& boundary : steps.at(0).at("boundaries")) {
    EXPECT_TRUE(boundary.at("steps").empty()) << boundary;
  }
}

TEST(JobDocument, ShowsNoMoreOfALongTimelineThanAReportHolds) {
  RankTimeline timeline;
  timeline.calls.resize(report_calls_max(1) + 3);
  timeline.dropped = 2;
  const Json shown = timeline_json({&timeline, 1}).at("ranks").at(0);
  EXPECT_EQ(shown.at("calls").size(), report_calls_max(1));
  EXPECT_EQ(shown.at("dropped"), 5);
}

TEST(JobDocument, OfManyRanksStaysSmall) {
  EXPECT_EQ(report_calls_max(1), 8'192U);
  EXPECT_EQ(report_calls_max(64), 937U);
  EXPECT_EQ(report_calls_max(0), 8'192U);
  EXPECT_EQ(report_calls_max(65'536), 256U);
  const Json document = document_of({.tp = 32, .attn_dp = 4, .attn_cp = 2, .pp = 2});
  EXPECT_LT(document.dump().size(), 200'000U);
}

}  // namespace
}  // namespace cohort
