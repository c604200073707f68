#include "bench_output.hpp"

#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cohort/version.hpp>

namespace cohort::bench {
namespace {

using testing::HasSubstr;
using testing::Not;

Times times(double p50) {
  return {p50 / 2, p50, p50 * 1.5, p50 * 3, 100};
}

Row row(const std::string& op, std::size_t bytes) {
  Row row{op, "f32", 2, bytes, "host_inline", false, true, false, times(2), {}, {}};
  row.peers["openmpi"] = {times(6), "eager64k"};
  row.peers["shm"] = {times(5), ""};
  row.references["memcpy"] = times(1);
  return row;
}

Measurement measurement() {
  Measurement result;
  result.rows = {row("all_reduce", 8), row("all_reduce", 4096), row("barrier", 0)};
  Row rotating = row("all_reduce", 4096);
  rotating.rotating = true;
  rotating.in_heap = false;
  result.rows.push_back(rotating);
  result.remarks.push_back({"gloo", "no program"});
  result.facts.push_back({2, 0, {{"registrations", 0}}});
  return result;
}

TEST(BenchOutput, TimesAreSummarisedOverAllCalls) {
  std::vector<float> samples;
  for (int i = 100; i >= 0; --i) samples.push_back(static_cast<float>(i));
  const Times summary = summarise(samples);
  EXPECT_EQ(summary.min_us, 0);
  EXPECT_EQ(summary.p50_us, 50);
  EXPECT_EQ(summary.mean_us, 50);
  EXPECT_EQ(summary.p99_us, 99);
  EXPECT_EQ(summary.calls, 101u);
}

TEST(BenchOutput, TheBestPeerIsTheOneWithTheLeastMedian) {
  Row some = row("all_reduce", 8);
  EXPECT_EQ(best_peer(some), "shm");
  some.peers.clear();
  EXPECT_EQ(best_peer(some), std::nullopt);
}

TEST(BenchOutput, TheDocumentHasTheAgreedShape) {
  std::ostringstream output;
  print_document(measurement(), output);
  const auto document = nlohmann::json::parse(output.str());
  EXPECT_EQ(document["schema"], 1);
  EXPECT_EQ(document["version"], COHORT_VERSION);
  EXPECT_TRUE(document["machine"]["cpu"].is_string());
  ASSERT_EQ(document["rows"].size(), 4u);
  const auto& first = document["rows"][0];
  EXPECT_EQ(first["op"], "all_reduce");
  EXPECT_EQ(first["dtype"], "f32");
  EXPECT_EQ(first["ranks"], 2);
  EXPECT_EQ(first["bytes"], 8);
  EXPECT_EQ(first["path"], "host_inline");
  EXPECT_EQ(first["buffers"], "warm");
  EXPECT_EQ(first["operands"], "heap");
  EXPECT_EQ(first["p50_us"], 2);
  EXPECT_EQ(first["mean_us"], 3);
  EXPECT_EQ(first["p99_us"], 6);
  EXPECT_EQ(first["min_us"], 1);
  EXPECT_EQ(first["peers"]["openmpi"]["p50_us"], 6);
  EXPECT_EQ(first["peers"]["openmpi"]["setting"], "eager64k");
  EXPECT_EQ(first["references"]["memcpy"]["p50_us"], 1);
  EXPECT_EQ(document["rows"][3]["buffers"], "rotating");
  EXPECT_EQ(document["rows"][3]["operands"], "ordinary");
  EXPECT_EQ(document["remarks"][0]["who"], "gloo");
  EXPECT_EQ(document["ranks"][0]["registrations"], 0);
}

TEST(BenchOutput, TheTableShowsTheRatioToTheBestPeerAndWhoIsMissing) {
  std::ostringstream output;
  print_tables(measurement(), output);
  EXPECT_THAT(output.str(), HasSubstr("  2.50\n    openmpi 6.000 shm 5.000 | memcpy 1.000\n"));
  EXPECT_THAT(output.str(), HasSubstr("rotating buffers"));
  EXPECT_THAT(output.str(), HasSubstr("not compared with gloo: no program"));
}

TEST(BenchOutput, TheTableFitsATerminal) {
  Measurement all = measurement();
  all.memory = Memory::host;
  all.table = "paths: " + std::string(40, 'x') + " " + std::string(60, 'y');
  Row wide = row("reduce_scatter", std::size_t{1000} << 10);
  wide.path = "gpu_two_shot";
  wide.times = times(1e6);
  for (const char* name : {"mpich", "gloo", "against"}) wide.peers[name] = {times(123456), ""};
  for (const char* name : {"memcpy_cached", "yield_barrier"}) wide.references[name] = times(123456);
  all.rows.push_back(wide);
  all.facts.push_back({2, 1, {{std::string(40, 'a'), 1}, {std::string(40, 'b'), 2}}});
  std::ostringstream output;
  print_tables(all, output);
  std::istringstream lines(output.str());
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 80U) << line;
  EXPECT_THAT(output.str(), HasSubstr("memcpy_cached"));
}

TEST(BenchOutput, ThePlotDrawsACurveForEverybody) {
  const std::string plot = draw_plot(measurement());
  EXPECT_THAT(plot, testing::StartsWith("<svg"));
  EXPECT_THAT(plot, HasSubstr("all_reduce, 2 ranks"));
  EXPECT_THAT(plot, Not(HasSubstr("barrier")));
  EXPECT_THAT(plot, Not(HasSubstr("nan")));
  std::size_t curves = 0;
  for (std::size_t at = 0; (at = plot.find("<polyline", at)) != std::string::npos; ++at) ++curves;
  EXPECT_EQ(curves, 4u);  // cohort, openmpi, shm, memcpy
  EXPECT_THAT(draw_plot({}), HasSubstr("</svg>"));
}

}  // namespace
}  // namespace cohort::bench
