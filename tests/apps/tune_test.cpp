#include "tune.hpp"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cohort/path_table.hpp>
#include <cohort/version.hpp>

#include "run_command.hpp"
#include "support/golden_model.hpp"

namespace cohort {
namespace {

using testing::HasSubstr;

using Outcome = test::CommandOutcome;

Outcome run(const std::vector<std::string>& words) {
  return test::run_command(words);
}

/// A folder that goes with the test.
class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "cohort-tune-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder");
    path_ = name;
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  std::string file(const std::string& name, const std::string& text) const {
    std::ofstream(path_ / name) << text;
    return (path_ / name).string();
  }
  std::string name(const std::string& name) const { return (path_ / name).string(); }
  std::size_t entries() const {
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(path_), {}));
  }

 private:
  std::filesystem::path path_;
};

Outcome plan_with(const std::vector<std::string>& flags) {
  std::vector<std::string> words = {"plan", "--model", test::tiny_model_path(), "--tp", "2"};
  words.insert(words.end(), flags.begin(), flags.end());
  return run(words);
}

std::string text_of(const PathTable& table) {
  return table.to_json();
}

PathTable table_of(const Machine& machine, const std::string& version) {
  return {{{Op::all_reduce, 2, false, {{Path::host_inline, 777}, {Path::host_direct}}}},
          machine,
          version};
}

TEST(TuneCommand, MeasuresAndWritesATableThatOtherCommandsRead) {
  const Folder folder;
  const std::string file = folder.name("paths.json");
  const Outcome tuned = run({"tune", "--ranks", "2", "--quick", "--json", "-v", "-o", file});
  ASSERT_EQ(tuned.exit_code, 0) << tuned.output << tuned.errors;
  EXPECT_THAT(tuned.errors, HasSubstr("measuring: all_reduce in groups of 2"));
  EXPECT_EQ(folder.entries(), 1U) << "temporary files stay behind";
  const auto document = nlohmann::json::parse(tuned.output);
  EXPECT_EQ(document.at("schema"), 1);
  EXPECT_EQ(document.at("version"), COHORT_VERSION);

  std::ifstream written(file);
  const std::string text{std::istreambuf_iterator<char>(written), {}};
  EXPECT_EQ(nlohmann::json::parse(text), document);
  const PathTable table = PathTable::parse(text);
  EXPECT_EQ(table.machine(), this_machine());
  for (const Op op : {Op::all_reduce, Op::all_gather, Op::all_gatherv, Op::reduce_scatter,
                      Op::reduce_scatterv, Op::all_to_all, Op::all_to_allv, Op::broadcast}) {
    const auto is_of = [&](const PathRow& row) { return row.op == op && row.ranks == 2; };
    EXPECT_GE(std::count_if(table.rows().begin(), table.rows().end(), is_of), 1) << to_string(op);
  }
  // Sizes from 8 bytes to what --quick measures, each with a time for every path that takes it.
  std::size_t all_reduces = 0;
  for (const auto& measured : document.at("measurements")) {
    const auto bytes = measured.at("bytes").get<std::size_t>();
    EXPECT_EQ(measured.at("us").size(), bytes <= 16384 ? 2U : 1U) << measured;
    for (const auto& us : measured.at("us")) EXPECT_GT(us.get<double>(), 0);
    if (measured.at("op") == "all_reduce") ++all_reduces;
  }
  EXPECT_EQ(all_reduces % 14, 0U);
  EXPECT_GT(all_reduces, 0U);

  const Outcome plan = plan_with({"--path-table", file});
  EXPECT_EQ(plan.exit_code, 0) << plan.errors;
  EXPECT_THAT(plan.output, HasSubstr("paths: measured on"));
}

TEST(TuneCommand, PrintsASummary) {
  const Outcome tuned = run({"tune", "-n", "2", "--quick"});
  ASSERT_EQ(tuned.exit_code, 0) << tuned.errors;
  std::string output = tuned.output;
  std::ranges::replace(output, '\n', ' ');
  EXPECT_THAT(output, HasSubstr("Measured on " + to_string(this_machine())));
  EXPECT_THAT(tuned.output, HasSubstr("reduce_scatter"));
  EXPECT_THAT(tuned.output, HasSubstr("host_direct"));
  EXPECT_THAT(tuned.output, HasSubstr("Nothing was written"));
}

TEST(TuneCommand, RefusesFlagsThatMakeNoSense) {
  for (const char* ranks : {"0", "1", "65"}) {
    const Outcome outcome = run({"tune", "--ranks", ranks});
    EXPECT_EQ(outcome.exit_code, 2);
    EXPECT_THAT(outcome.errors, HasSubstr(std::string("--ranks ") + ranks));
  }
  EXPECT_EQ(run({"tune", "--ranks", "two"}).exit_code, 2);
}

TEST(PathFlags, PinAndTableReachThePlan) {
  EXPECT_THAT(plan_with({}).output, HasSubstr("paths: built-in table"));
  EXPECT_THAT(plan_with({"--path", "host_staged"}).output,
              HasSubstr("paths: pinned to host_staged"));
  const Folder folder;
  const std::string file = folder.file("t.json", text_of(table_of(this_machine(), COHORT_VERSION)));
  const Outcome outcome = plan_with({"--path-table", file, "--json"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
  const auto lines = nlohmann::json::parse(outcome.output).at("paths");
  EXPECT_THAT(lines.dump(), HasSubstr("host_inline to 777 bytes, then host_direct"));
}

TEST(PathFlags, ATableOfAnotherMachineOrVersionNeedsToBeAskedFor) {
  const Folder folder;
  const Machine other{"Some CPU", 96, 8};
  const std::string elsewhere = folder.file("a.json", text_of(table_of(other, COHORT_VERSION)));
  const std::string older = folder.file("b.json", text_of(table_of(this_machine(), "0.0.1")));
  for (const std::string& file : {elsewhere, older}) {
    const Outcome refused = plan_with({"--path-table", file});
    EXPECT_EQ(refused.exit_code, 2);
    EXPECT_THAT(refused.errors, HasSubstr(file == older ? "0.0.1" : "Some CPU, 96 CPUs"));
    EXPECT_THAT(refused.errors, HasSubstr("cohort tune"));
    EXPECT_THAT(refused.errors, HasSubstr("--any-machine"));
    const Outcome allowed = plan_with({"--path-table", file, "--any-machine"});
    EXPECT_EQ(allowed.exit_code, 0) << allowed.errors;
  }
}

TEST(PathFlags, BadFilesAndFlagsGiveOneClearError) {
  const Folder folder;
  const auto refusal = [](const std::vector<std::string>& flags) {
    const Outcome outcome = plan_with(flags);
    EXPECT_EQ(outcome.exit_code, 2);
    EXPECT_EQ(outcome.output, "");
    EXPECT_EQ(std::count(outcome.errors.begin(), outcome.errors.end(), '\n'), 1);
    return outcome.errors;
  };
  EXPECT_THAT(refusal({"--path", "gpu_ll"}), HasSubstr("--path"));
  EXPECT_THAT(refusal({"--path-table", folder.name("none.json")}), HasSubstr("No such file"));
  EXPECT_THAT(refusal({"--path-table", folder.name("")}), HasSubstr("--path-table"));
  EXPECT_THAT(refusal({"--path-table", folder.file("bad.json", "{\"schema\": 1}")}),
              testing::AllOf(HasSubstr("bad.json"), HasSubstr("'version' is missing")));
  EXPECT_THAT(refusal({"--path-table", folder.file("cut.json", "{\"schema\"")}),
              HasSubstr("no JSON document"));
  EXPECT_THAT(refusal({"--path-table", folder.file("long.json", std::string(5 << 20, ' '))}),
              HasSubstr("longer than the 4.0 MiB"));
  EXPECT_THAT(refusal({"--path", "host_direct", "--path-table", "x"}), HasSubstr("contradicts"));
  EXPECT_THAT(refusal({"--any-machine"}), HasSubstr("--path-table"));
}

}  // namespace
}  // namespace cohort
