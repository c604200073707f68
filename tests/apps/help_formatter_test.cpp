#include "help_formatter.hpp"

#include <regex>
#include <sstream>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "command_line.hpp"

namespace cohort {
namespace {

using testing::HasSubstr;
using testing::Not;

std::string help_of(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "cohort");
  arguments.push_back("--help");
  std::ostringstream output;
  std::ostringstream errors;
  EXPECT_EQ(run_command_line(static_cast<int>(arguments.size()), arguments.data(), output, errors),
            0);
  EXPECT_EQ(errors.str(), "");
  return output.str();
}

/// The names below "Subcommands:".
std::vector<std::string> commands() {
  std::istringstream lines(help_of({}));
  std::vector<std::string> names;
  std::string line;
  while (std::getline(lines, line) && line != "Subcommands:") {
  }
  while (std::getline(lines, line) && !line.empty()) {
    const std::string name = line.substr(0, 30);
    if (name.find_first_not_of(' ') == 2) names.push_back(name.substr(2, name.find(' ', 2) - 2));
  }
  return names;
}

TEST(Help, OfEveryCommandTeachesItsUse) {
  const auto names = commands();
  EXPECT_THAT(names,
              testing::IsSupersetOf({"generate", "groups", "plan", "run", "check", "bench"}));
  for (const std::string& name : names) {
    const std::string help = help_of({name.c_str()});
    EXPECT_THAT(help, HasSubstr("\nUsage: cohort " + name + " [OPTIONS]"));
    EXPECT_THAT(help, HasSubstr("\nExit codes: 0")) << name;
    EXPECT_THAT(help, HasSubstr("\nExamples:\n")) << name;
    EXPECT_THAT(help, HasSubstr("\n  cohort " + name)) << name;
    // What a shell reads is no result to be told in JSON.
    if (name != "completion") {
      EXPECT_THAT(help, HasSubstr("--json")) << name;
    }
    EXPECT_THAT(help, Not(HasSubstr(" TEXT="))) << name;
  }
}

TEST(Help, FitsATerminal) {
  for (const std::string& name : commands()) {
    std::istringstream lines(help_of({name.c_str()}));
    for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 80u) << line;
  }
  std::istringstream lines(help_of({}));
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 80u) << line;
}

TEST(Help, EveryFlagIsExplained) {
  // The names of a flag, the type of its value, and at least two words of explanation.
  const std::regex flag(R"(  (-\w,)?--[a-z][a-z0-9-]*(,--[a-z0-9-]+)?( [^ ]+)?( \(required\))?)");
  const std::regex explained(R"(.{30}\S+ \S.*)");
  for (const std::string& name : commands()) {
    std::istringstream lines(help_of({name.c_str()}));
    std::size_t flags = 0;
    for (std::string line; std::getline(lines, line);) {
      if (!line.starts_with("  -")) continue;
      ++flags;
      // A long name has its explanation on the next line.
      if (std::regex_match(line, flag) && !std::getline(lines, line)) line.clear();
      EXPECT_TRUE(std::regex_match(line, explained)) << name << ": " << line;
    }
    EXPECT_GE(flags, name == "completion" ? 1u : 2u) << name;
  }
}

TEST(HelpFormatter, ParagraphsBelowTheFlagsFlow) {
  CLI::App app("A program", "app");
  app.formatter(help_formatter());
  const std::string word(30, 'w');
  app.footer("one\ntwo " + word + " " + word + " " + word + "\n  as it   is\n\nnext");
  EXPECT_THAT(app.help(), testing::EndsWith("\none two " + word + " " + word + "\n" + word +
                                            "\n  as it   is\n\nnext\n"));
}

TEST(HelpFormatter, SaysTypesChoicesAndDefaultsInWords) {
  CLI::App app("A program", "app");
  app.formatter(help_formatter());
  CLI::App* command = app.add_subcommand("go", std::string(30, 'x') + " " + std::string(60, 'y'));
  std::string size = "4Ki";
  std::string kind;
  std::vector<std::string> rest;
  bool loud = false;
  command->add_option("--size", size, "How large")->capture_default_str()->type_name("SIZE");
  command->add_option("-k,--kind", kind, "Which one")
      ->required()
      ->check(CLI::IsMember({"a", "b"}))
      ->type_name("KIND");
  command->add_flag("--loud", loud, std::string(40, 'z') + " " + std::string(40, 'z'));
  command->add_option("rest", rest, "What is left")->type_name("");
  const std::string help = command->help();
  EXPECT_THAT(help, HasSubstr("Usage: app go [OPTIONS] [rest...]\n"));
  EXPECT_THAT(help, HasSubstr("\n  --size SIZE                 How large (default 4Ki)\n"));
  EXPECT_THAT(help, HasSubstr("\n  rest ...                    What is left\n"));
  EXPECT_THAT(help, HasSubstr("\n  -k,--kind KIND (required)   Which one\n"));
  EXPECT_THAT(help, HasSubstr(std::string(40, 'z') + "\n" + std::string(30, ' ') +
                              std::string(40, 'z') + "\n"));
  EXPECT_THAT(app.help(), HasSubstr("  go                          " + std::string(30, 'x') + "\n" +
                                    std::string(30, ' ') + std::string(60, 'y') + "\n"));
}

}  // namespace
}  // namespace cohort
