// Files that a shell hands over as pipes, `<(...)`: the command reads them once, its ranks as well.

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "support/golden_model.hpp"
#include "support/subprocess.hpp"

namespace cohort {
namespace {

using namespace std::chrono_literals;
using test::Finished;

const std::string kCommand = COHORT_BUILD_DIR "/cohort";
const std::string kGenerate = "exec \"$0\" generate --model \"$1\" --max-tokens 2 --json ";

/// Runs `script` with the command as $0 and the tiny model as $1.
nlohmann::json document_of(const std::string& script) {
  test::Subprocess shell({"/bin/bash", "-c", script, kCommand, test::tiny_model_path()},
                         {{"COHORT_LOG", "error"}, {"COHORT_MODEL", ""}});
  const Finished finished = shell.wait(test::patience(60s));
  EXPECT_EQ(finished.exit_code, 0) << finished.output << finished.errors;
  EXPECT_EQ(finished.errors, "");
  auto document = nlohmann::json::parse(finished.output, nullptr, false);
  EXPECT_FALSE(document.is_discarded()) << finished.output;
  return document;
}

/// A path table from a pipe by which every all_reduce is staged, which none would be otherwise.
std::string table_from_pipe() {
  const auto staged = nlohmann::json::array({{{"path", "host_staged"}}});
  auto rows = nlohmann::json::array();
  for (const bool crowded : {false, true}) {
    rows.push_back({{"op", "all_reduce"}, {"ranks", 2}, {"crowded", crowded}, {"paths", staged}});
  }
  const nlohmann::json machine = {{"cpu", "an abacus"}, {"cpus", 1}, {"numa_nodes", 1}};
  const nlohmann::json table = {
      {"schema", 1}, {"version", "0.0.1"}, {"machine", machine}, {"rows", rows}};
  return "<(echo '" + table.dump() + "')";
}

TEST(Pipes, HoldPromptsAndConfiguration) {
  const std::string config = "--config <(echo tp = 2) ";
  const auto expected = document_of(kGenerate + "--tp 2 --prompt Water --prompt Fire");
  for (const std::string prompts :
       {"--prompts <(echo '\"Water\"'; echo '\"Fire\"')",
        "--prompts /dev/stdin < <(echo '\"Water\"'; echo '\"Fire\"')"}) {
    const auto result = document_of(kGenerate + config + prompts);
    EXPECT_EQ(result.at("layout"), expected.at("layout"));
    ASSERT_EQ(result.at("prompts").size(), 2U);
    for (std::size_t i = 0; i < 2; ++i) {
      EXPECT_EQ(result.at("prompts")[i].at("tokens"), expected.at("prompts")[i].at("tokens"));
    }
  }
}

TEST(Pipes, HoldThePathTableOfAllRanks) {
  const auto result = document_of(kGenerate + "--tp 2 --prompt Water --any-machine --path-table " +
                                  table_from_pipe());
  bool reduced = false;
  for (const auto& row : result.at("communication")) {
    if (row.at("op") != "all_reduce") continue;
    reduced = true;
    EXPECT_EQ(row.at("path"), "host_staged") << row;
  }
  EXPECT_TRUE(reduced);
}

TEST(Pipes, HoldThePathTableOfABenchmark) {
  const auto result = document_of(
      "exec \"$0\" bench --json --quick --peers none --ops all_reduce --bytes 8 --ranks 2 "
      "--rounds 1 --seconds 0.01 --any-machine --path-table " +
      table_from_pipe());
  EXPECT_THAT(result.dump(), testing::HasSubstr("host_staged"));
}

}  // namespace
}  // namespace cohort
