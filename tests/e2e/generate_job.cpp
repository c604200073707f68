#include "e2e/generate_job.hpp"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "base/clock.hpp"

namespace cohort::test {

using namespace std::chrono_literals;

namespace {

constexpr const char* kMark = "COHORT_TEST_MARK";
const std::string kCommand = COHORT_BUILD_DIR "/cohort";

template <typename Condition>
bool becomes_true(const Condition& condition) {
  const auto deadline = Clock::now() + patience(15s);
  while (!condition()) {
    if (Clock::now() >= deadline) return false;
    std::this_thread::sleep_for(2ms);
  }
  return true;
}

}  // namespace

std::vector<std::string> words(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> result;
  for (std::string word; stream >> word;) result.push_back(word);
  return result;
}

void GenerateJob::SetUp() {
  mark_ =
      std::to_string(::getpid()) + "-" + std::to_string(Clock::now().time_since_epoch().count());
  directory_ = std::filesystem::temp_directory_path() / ("cohort-test-" + mark_);
  std::filesystem::create_directory(directory_);
  std::filesystem::create_directory(directory_ / "temporary");
}

void GenerateJob::TearDown() {
  EXPECT_TRUE(becomes_true([&] { return processes_with_variable(kMark, mark_).empty(); }))
      << "a process is left";
  for (const pid_t pid : processes_with_variable(kMark, mark_)) ::kill(pid, SIGKILL);
  EXPECT_TRUE(std::filesystem::is_empty(directory_ / "temporary")) << "a file is left";
  std::filesystem::remove_all(directory_);
  for (const auto& entry : std::filesystem::directory_iterator("/dev/shm")) {
    EXPECT_EQ(entry.path().string().find("cohort"), std::string::npos) << entry.path();
  }
}

std::string GenerateJob::write_file(const std::string& name, const std::string& content) const {
  const std::filesystem::path path = directory_ / name;
  std::ofstream(path, std::ios::binary) << content;
  return path.string();
}

std::string GenerateJob::write_prompts(const std::vector<GoldenTexts::Prompt>& prompts) const {
  std::string lines;
  for (const auto& prompt : prompts) {
    lines += nlohmann::json{{"prompt", prompt.text}}.dump() + "\n";
  }
  return write_file("prompts.jsonl", lines);
}

std::unique_ptr<Subprocess> GenerateJob::start(const std::vector<std::string>& arguments,
                                               bool one_stream,
                                               Subprocess::Variables variables) const {
  std::vector<std::string> all;
  if (one_stream) all = {"/bin/sh", "-c", "exec \"$0\" \"$@\" 2>&1"};
  all.push_back(kCommand);
  all.insert(all.end(), arguments.begin(), arguments.end());
  // On a loaded machine a rank may well wait for long enough to log it.
  const auto is_log = [](const auto& variable) { return variable.first == "COHORT_LOG"; };
  if (std::ranges::none_of(variables, is_log)) variables.emplace_back("COHORT_LOG", "error");
  // There it names the tests' model; the command would take it for its --model.
  variables.emplace_back("COHORT_MODEL", "");
  variables.emplace_back(kMark, mark_);
  variables.emplace_back("TMPDIR", (directory_ / "temporary").string());
  return std::make_unique<Subprocess>(all, variables, (directory_ / "temporary").string());
}

Finished GenerateJob::run(const std::vector<std::string>& arguments) const {
  return start(arguments)->wait(patience(300s));
}

nlohmann::json GenerateJob::run_json(const std::string& flags,
                                     const std::vector<std::string>& arguments) const {
  std::vector<std::string> all = {"generate", "--json"};
  all.insert(all.end(), arguments.begin(), arguments.end());
  for (const std::string& flag : words(flags)) all.push_back(flag);
  const Finished finished = run(all);
  EXPECT_EQ(finished.exit_code, 0) << finished.output.substr(0, 2000) << finished.errors;
  EXPECT_EQ(finished.errors, "");
  auto result = nlohmann::json::parse(finished.output, nullptr, false);
  EXPECT_FALSE(result.is_discarded()) << finished.output.substr(0, 2000);
  return result;
}

pid_t GenerateJob::pid_of_rank(std::uint32_t rank) const {
  std::optional<pid_t> found;
  const bool started = becomes_true([&] {
    const auto of_test = processes_with_variable(kMark, mark_);
    for (const pid_t pid : processes_with_variable("COHORT_RANK", std::to_string(rank))) {
      if (std::ranges::find(of_test, pid) != of_test.end()) found = pid;
    }
    return found.has_value();
  });
  // Whoever takes a number that is none for a process signals all of them.
  if (!started) throw std::runtime_error("rank " + std::to_string(rank) + " did not start");
  return *found;
}

void expect_tokens(const nlohmann::json& result, const std::vector<GoldenTexts::Prompt>& golden) {
  const auto& prompts = result.at("prompts");
  ASSERT_EQ(prompts.size(), golden.size());
  for (std::size_t i = 0; i < golden.size(); ++i) {
    EXPECT_EQ(prompts[i].at("prompt_tokens"), golden[i].ids.size()) << golden[i].name;
    EXPECT_EQ(prompts[i].at("tokens").get<std::vector<std::uint32_t>>(), golden[i].continuation)
        << golden[i].name;
    EXPECT_EQ(prompts[i].at("finish_reason"), "length");
    EXPECT_EQ(prompts[i].at("replica"), i % result.at("layout").at("attn_dp").get<std::size_t>());
  }
}

void expect_promised(const nlohmann::json& result) {
  ASSERT_FALSE(result.at("communication").empty());
  for (const auto& row : result.at("communication")) {
    SCOPED_TRACE(row.dump());
    EXPECT_EQ(row.at("copied_bytes"), 0);
    if (row.at("ranks").size() == 1) {
      EXPECT_EQ(row.at("path"), "local");
      EXPECT_EQ(row.at("reason"), "group_size_one");
    } else {
      EXPECT_TRUE(row.at("path") == "host_inline" || row.at("path") == "host_direct");
      EXPECT_EQ(row.at("reason"), "ok");
    }
  }
  EXPECT_EQ(result.at("registrations_since_commit"), 0);
  const auto& footprint = result.at("footprint");
  EXPECT_EQ(footprint.at("planned_bytes").size(), result.at("layout").at("ranks"));
  EXPECT_EQ(footprint.at("planned_bytes"), footprint.at("measured_bytes"));
}

void expect_staged(const nlohmann::json& result) {
  for (const auto& row : result.at("communication")) {
    SCOPED_TRACE(row.dump());
    const bool alone = row.at("ranks").size() == 1;
    EXPECT_EQ(row.at("path"), alone ? "local" : "host_staged");
    EXPECT_EQ(row.at("reason"), alone ? "group_size_one" : "disabled");
  }
}

}  // namespace cohort::test
