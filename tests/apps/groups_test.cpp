#include "groups.hpp"

#include <sstream>
#include <string>

#include <CLI/CLI.hpp>
#include <gtest/gtest.h>

#include <cohort/error.hpp>

#include "topology/describe.hpp"

namespace cohort {
namespace {

std::string output_of(const std::string& command_line) {
  std::ostringstream output;
  CLI::App app;
  add_groups_command(app, output);
  app.parse(command_line);
  return output.str();
}

TEST(GroupsCommand, PrintsTheTable) {
  EXPECT_EQ(output_of("groups --tp 4 --attn-dp 2"),
            groups_as_text(Layout({.tp = 4, .attn_dp = 2})));
}

TEST(GroupsCommand, PrintsOneLineOfJson) {
  EXPECT_EQ(output_of("groups --tp 4 --dp-size 2 --enable-dp-attention --pp 2 --json"),
            groups_as_json(Layout({.tp = 4, .attn_dp = 2, .pp = 2})) + "\n");
}

TEST(GroupsCommand, SizesThatDoNotDivideAreAUsageError) {
  try {
    output_of("groups --tp 6 --attn-dp 4");
    ADD_FAILURE() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), 2);
    EXPECT_STREQ(error.what(), "--tp 6 is not divisible by --attn-dp 4 x --attn-cp 1");
  }
}

TEST(GroupsCommand, HelpTeachesFlagsAndExamples) {
  std::ostringstream output;
  CLI::App app;
  add_groups_command(app, output);
  const std::string help = app.get_subcommand("groups")->help();
  for (const char* part : {"--tp", "--attn-dp", "--attn-cp", "--ep", "--moe-dp", "--pp", "--dcp",
                           "--ranks-per-host", "--json", "cohort groups --tp 4", "Examples:"}) {
    EXPECT_NE(help.find(part), std::string::npos) << part << "\n" << help;
  }
}

}  // namespace
}  // namespace cohort
