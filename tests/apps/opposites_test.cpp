#include "opposites.hpp"

#include <array>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cohort {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

constexpr std::array kStandings{Standing::above_tables, Standing::own_table, Standing::environment,
                                Standing::command_line};

using Names = std::pair<const char*, const char*>;

TEST(Opposites, TheHigherOneCountsWhicheverItIs) {
  for (const Names& pair : {Names{"quiet", "verbose"}, Names{"path", "path-table"},
                            Names{"prompt", "prompts"}, Names{"symmetric", "enable-symm-mem"},
                            Names{"attn-dp", "dp-size"}, Names{"list", "report"}}) {
    for (const Standing one : kStandings) {
      for (const Standing other : kStandings) {
        SCOPED_TRACE(std::string(pair.first) + " " + std::to_string(static_cast<int>(one)) + ", " +
                     pair.second + " " + std::to_string(static_cast<int>(other)));
        const std::vector<GivenFlag> given{{pair.first, one}, {"tp", one}, {pair.second, other}};
        const std::vector<std::string> without = outranked(given);
        if (one == other) {
          EXPECT_THAT(without, IsEmpty()) << "a contradiction is for the command to refuse";
        } else {
          EXPECT_THAT(without, ElementsAre(one > other ? pair.second : pair.first));
        }
      }
    }
  }
}

TEST(Opposites, SomeReplaceOthersOnlyOneWay) {
  std::vector<Names> pairs{{"path", "any-machine"}};
  for (const char* size : {"tp", "attn-dp", "attn-cp", "ep", "moe-dp", "pp", "dcp",
                           "ranks-per-host", "dp-size", "enable-dp-attention"}) {
    pairs.emplace_back("from", size);
  }
  for (const auto& [winner, loser] : pairs) {
    for (const Standing one : kStandings) {
      for (const Standing other : kStandings) {
        SCOPED_TRACE(std::string(loser) + " " + std::to_string(static_cast<int>(one)) + ", " +
                     std::to_string(static_cast<int>(other)));
        const std::vector<GivenFlag> given{{loser, other}, {winner, one}};
        if (one > other) {
          EXPECT_THAT(outranked(given), ElementsAre(loser));
        } else {
          EXPECT_THAT(outranked(given), IsEmpty());
        }
      }
    }
  }
}

TEST(Opposites, NothingGivenContradictsNothing) {
  EXPECT_THAT(outranked({}), IsEmpty());
  const std::vector<GivenFlag> alone{{"quiet", Standing::command_line}};
  EXPECT_THAT(outranked(alone), IsEmpty());
}

/// Values of --ranks, --tp and --pp from the line, the environment and the file; empty if not
/// given.
struct Counts {
  const char* ranks;
  Standing ranks_from;
  const char* tp;
  Standing tp_from;
  const char* pp;
  Standing pp_from;
  std::vector<std::string> without;
};

TEST(Opposites, RanksAreTheProductOfTheOthers) {
  constexpr auto kLine = Standing::command_line;
  constexpr auto kVariable = Standing::environment;
  constexpr auto kFile = Standing::above_tables;
  const std::vector<Counts> table{
      {"4", kLine, "8", kFile, "", kFile, {"tp"}},
      {"4", kFile, "8", kLine, "", kFile, {"ranks"}},
      {"4", kLine, "4", kFile, "", kFile, {}},
      {"4", kLine, "2", kFile, "2", kFile, {}},
      {"4", kLine, "8", kFile, "2", kFile, {"tp"}},
      {"4", kLine, "8", kFile, "3", kFile, {"tp", "pp"}},
      {"4", kLine, "4", kLine, "2", kFile, {"pp"}},
      {"4", kFile, "8", kFile, "", kFile, {}},
      {"4", kFile, "4", kFile, "2", kLine, {"ranks"}},
      {"4", kVariable, "4", kFile, "2", kLine, {"tp"}},
      {"4", kVariable, "", kFile, "3", kLine, {"ranks"}},
      {"4", kVariable, "", kFile, "3", kFile, {"pp"}},
      {"4", kLine, "", kFile, "2", kFile, {}},
      {"x", kLine, "8", kFile, "", kFile, {}},
      {"4", kLine, "0", kFile, "99999999999", kFile, {}},
      {"", kLine, "8", kFile, "2", kVariable, {}},
  };
  for (const Counts& each : table) {
    SCOPED_TRACE(std::string(each.ranks) + " = " + each.tp + " x " + each.pp);
    std::vector<GivenFlag> given;
    if (*each.pp != '\0') given.push_back({"pp", each.pp_from, each.pp});
    if (*each.tp != '\0') given.push_back({"tp", each.tp_from, each.tp});
    if (*each.ranks != '\0') given.push_back({"ranks", each.ranks_from, each.ranks});
    EXPECT_THAT(outranked(given), testing::UnorderedElementsAreArray(each.without));
  }
}

TEST(Opposites, WhatCountsNotReplacesNothing) {
  // The table named by the file goes with what belongs to it.
  const std::vector<GivenFlag> given{{"path", Standing::command_line},
                                     {"path-table", Standing::above_tables},
                                     {"any-machine", Standing::environment}};
  EXPECT_THAT(outranked(given), UnorderedElementsAre("path-table", "any-machine"));
  const std::vector<GivenFlag> sizes{{"from", Standing::environment},
                                     {"attn-dp", Standing::own_table},
                                     {"dp-size", Standing::above_tables}};
  EXPECT_THAT(outranked(sizes), UnorderedElementsAre("attn-dp", "dp-size"));
}

}  // namespace
}  // namespace cohort
