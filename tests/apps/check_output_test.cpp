#include "check_output.hpp"

#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cohort/version.hpp>

namespace cohort {
namespace {

using check::Row;
using check::Status;
using testing::EndsWith;

std::string printed(const std::vector<Row>& rows, std::uint32_t ranks = 4) {
  std::ostringstream output;
  print_rows(rows, {ranks, std::nullopt}, output);
  return output.str();
}

TEST(PrintRows, AreNoWiderThanAHundredColumns) {
  std::string words;
  for (int i = 0; i < 60; ++i) words += "word" + std::to_string(i) + " ";
  std::istringstream lines(printed({{"name", words, Status::warning, words, words}}));
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 80u) << line;
}

TEST(PrintRows, ShowEachRowWithItsRemedy) {
  EXPECT_EQ(printed({{"cpus", "2 CPUs", Status::warning, "They take turns.", "Use two."}}, 3),
            "status   name              value\n"
            "warning  cpus              2 CPUs\n"
            "         They take turns.\n"
            "         What to do: Use two.\n"
            "\n"
            "3 ranks can run here; 1 warning: cpus.\n");
}

TEST(PrintRows, EndWithProblemsBeforeWarnings) {
  const Row good{"a", "1", Status::ok, "Well.", ""};
  const auto bad = [](const std::string& name, Status status) {
    return Row{name, "0", status, "Not well.", "Mend it."};
  };
  EXPECT_THAT(printed({good}), EndsWith("\n4 ranks can run here.\n"));
  EXPECT_THAT(printed({good}, 1), EndsWith("\n1 rank can run here.\n"));
  EXPECT_THAT(printed({bad("w", Status::warning), bad("x", Status::problem), good,
                       bad("y", Status::problem), bad("z", Status::problem)}),
              EndsWith("\n4 ranks cannot run here: see x, y and z; 1 warning: w.\n"));
  EXPECT_THAT(printed({bad("x", Status::problem)}),
              EndsWith("\n4 ranks cannot run here: see x.\n"));
}

TEST(PrintRowsAsJson, HasEveryFieldOfEveryRow) {
  const std::vector<Row> rows{{"a", "1", Status::ok, "Well.", ""},
                              {"b", "\xff", Status::problem, "Not \"well\".", "Mend it."}};
  std::ostringstream output;
  print_rows_as_json(rows, output);
  const auto document = nlohmann::json::parse(output.str());
  EXPECT_EQ(document["schema"], 1);
  EXPECT_EQ(document["version"], COHORT_VERSION);
  EXPECT_EQ(document["ok"], false);
  ASSERT_EQ(document["rows"].size(), 2u);
  EXPECT_EQ(document["rows"][0]["status"], "ok");
  EXPECT_EQ(document["rows"][1]["name"], "b");
  EXPECT_EQ(document["rows"][1]["value"], "\uFFFD");
  EXPECT_EQ(document["rows"][1]["status"], "problem");
  EXPECT_EQ(document["rows"][1]["meaning"], "Not \"well\".");
  EXPECT_EQ(document["rows"][1]["remedy"], "Mend it.");
}

TEST(RanksArePossible, UnlessThereIsAProblem) {
  EXPECT_TRUE(ranks_are_possible({}));
  EXPECT_TRUE(ranks_are_possible({{"a", "", Status::warning, "", ""}}));
  EXPECT_FALSE(
      ranks_are_possible({{"a", "", Status::ok, "", ""}, {"b", "", Status::problem, "", ""}}));
}

}  // namespace
}  // namespace cohort
