// What is made from the command's own flags: completion and the manual page.

#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cohort/error.hpp>
#include <cohort/version.hpp>

#include "completion.hpp"
#include "manual.hpp"
#include "run_command.hpp"

namespace cohort {
namespace {

using test::run_command;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

TEST(Completion, IsPrintedForEveryShell) {
  for (const std::string& shell : completion_shells()) {
    const auto outcome = run_command({"completion", shell});
    EXPECT_EQ(outcome.exit_code, 0);
    for (const char* word : {"generate", "layer", "attn-dp", "bf16", "health-file"}) {
      EXPECT_THAT(outcome.output, HasSubstr(word)) << shell;
    }
    EXPECT_THAT(outcome.output, Not(HasSubstr("manual"))) << shell;
  }
}

TEST(Completion, AnotherShellIsRefused) {
  const auto outcome = run_command({"completion", "tcsh"});
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.errors, HasSubstr("tcsh"));
  EXPECT_THAT(outcome.errors, HasSubstr("bash"));
  EXPECT_THROW(completion_script(CLI::App(), "tcsh"), Error);
}

TEST(Completion, FollowsFromTheFlags) {
  CLI::App app("A program", "cohort");
  CLI::App* command = app.add_subcommand("go", "Go 'there': now");
  std::string kind;
  std::string file;
  command->add_option("-k,--kind", kind, "Which")->check(CLI::IsMember({"a", "b"}));
  command->add_option("--file", file, "It's what")->type_name("FILE");
  const std::string bash = completion_script(app, "bash");
  EXPECT_THAT(bash, HasSubstr("'go --kind'|'go -k') mapfile"));
  EXPECT_THAT(bash, HasSubstr("compgen -W 'a b'"));
  EXPECT_THAT(bash, HasSubstr("'go --file') compopt"));
  const std::string zsh = completion_script(app, "zsh");
  EXPECT_THAT(zsh, StartsWith("#compdef cohort\n"));
  EXPECT_THAT(zsh, HasSubstr(R"('go:Go '\''there'\'': now')"));
  const std::string fish = completion_script(app, "fish");
  EXPECT_THAT(fish, HasSubstr(R"(-l kind -s k -xa 'a b' -d 'Which')"));
  EXPECT_THAT(fish, HasSubstr(R"(-l file -rF -d 'It\'s what')"));
}

TEST(Manual, HasTheTextOfTheHelp) {
  const auto outcome = run_command({"manual"});
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_THAT(outcome.output, HasSubstr(".TH COHORT 1 \"\" \"cohort " COHORT_VERSION "\""));
  for (const char* part :
       {".SH COHORT GENERATE\n", ".SH COHORT BENCH LAYER\n", "\\fB\\-\\-attn\\-dp\\fR",
        "Which path each call takes", "cohort plan \\-\\-model SmolLM2.gguf"}) {
    EXPECT_THAT(outcome.output, HasSubstr(part));
  }
  EXPECT_THAT(outcome.output, Not(HasSubstr("COHORT MANUAL")));
}

TEST(Manual, NothingInATextIsARequest) {
  CLI::App app("A program", "cohort");
  app.footer("A path:\n  .hidden\\file\n'quoted' at the beginning\n\nLast - line");
  const std::string page = manual_page(app);
  EXPECT_THAT(page, HasSubstr("\n\\&.hidden\\efile\n"));
  EXPECT_THAT(page, HasSubstr("\n\\&\\(aqquoted\\(aq at the beginning\n.PP\nLast \\- line\n"));
}

}  // namespace
}  // namespace cohort
