#include "backend/host/health_file.hpp"

#include <stdlib.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backend/domain_fixture.hpp"
#include "base/clock.hpp"

namespace cohort::host {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
namespace fs = std::filesystem;

/// A folder of its own for each test.
class HealthFileTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("cohort-health-" + std::to_string(::getpid()) + "-" +
                                           std::to_string(Clock::now().time_since_epoch().count()));
    fs::create_directory(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string path() const { return (folder_ / "health.json").string(); }
  std::string text() const {
    std::ifstream stream(path());
    return {std::istreambuf_iterator<char>(stream), {}};
  }
  std::size_t files() const {
    return static_cast<std::size_t>(
        std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
  }
  template <typename Condition>
  static bool becomes_true(const Condition& condition) {
    const auto bound = Clock::now() + 60s;
    while (!condition() && Clock::now() < bound) std::this_thread::sleep_for(5ms);
    return condition();
  }

  fs::path folder_;
};

/// What two writers agree by.
struct Agreement {
  std::atomic<std::uint64_t> written_ns{static_cast<std::uint64_t>(
      std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count())};
  std::atomic<std::uint32_t> writer{0};
  HealthFile::Shared of(std::uint32_t rank) { return {written_ns, writer, WorldRank{rank}}; }
};

Health health_of(std::uint32_t generation, std::size_t rank_count) {
  Health health;
  health.generation = generation;
  for (std::uint32_t rank = 0; rank < rank_count; ++rank) {
    health.ranks.push_back(RankHealth{.rank = WorldRank{rank}});
  }
  return health;
}

TEST_F(HealthFileTest, IsCompleteAtEveryRead) {
  Agreement agreement;
  std::atomic<std::uint32_t> version{0};
  HealthFile file(path(), agreement.of(0), [&] {
    // Some 30 to 60 KiB, so that a write in place would be seen.
    const std::uint32_t next = ++version;
    return health_of(next, 200 + next % 200);
  });
  ASSERT_TRUE(becomes_true([&] { return fs::exists(path()); }));
  std::string last;
  std::size_t versions = 0;
  const auto bound = Clock::now() + 60s;
  for (int read = 0; read < 2000 || (versions <= 10 && Clock::now() < bound); ++read) {
    file.hurry();
    const std::string now = text();
    ASSERT_THAT(now, testing::StartsWith(R"({"schema":1,)"));
    ASSERT_THAT(now, testing::EndsWith("]}\n"));
    if (now != last) ++versions;
    last = now;
  }
  EXPECT_GT(versions, 10U) << "the reader never met the writer";
}

TEST_F(HealthFileTest, AnotherRankTakesOverFromOneThatFallsSilent) {
  Agreement agreement;
  HealthFile second(path(), agreement.of(1), [&] { return health_of(1, 2); });
  {
    const HealthFile first(path(), agreement.of(0), [&] { return health_of(100, 2); });
    ASSERT_TRUE(becomes_true([&] { return text().find(R"("generation":100)") != text().npos; }));
  }
  // As if its process had been killed: it says nothing.
  EXPECT_TRUE(becomes_true([&] { return text().find(R"("generation":1,)") != text().npos; }));
  EXPECT_EQ(agreement.writer.load(), 1U);
}

TEST_F(HealthFileTest, ThatCannotBeWrittenIsSaidOnce) {
  const std::string nowhere = (folder_ / "none" / "health.json").string();
  testing::internal::CaptureStderr();
  {
    Agreement agreement;
    std::atomic<int> asked{0};
    HealthFile file(nowhere, agreement.of(0), [&] {
      ++asked;
      return health_of(1, 1);
    });
    EXPECT_TRUE(becomes_true([&] {
      file.hurry();
      return asked.load() > 5;
    }));
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            "cohort: warning: cannot write the health file " + nowhere +
                ": No such file or directory; the job goes on without it\n");
}

/// Worlds find the file by the environment.
class HealthFileOfWorld : public HealthFileTest {
 protected:
  void SetUp() override {
    HealthFileTest::SetUp();
    ::setenv("COHORT_HEALTH_FILE", path().c_str(), 1);
  }
  void TearDown() override {
    ::unsetenv("COHORT_HEALTH_FILE");
    HealthFileTest::TearDown();
  }
};

TEST_F(HealthFileOfWorld, IsThereDuringTheJobAndSaysHowItEnded) {
  const auto results = test::run_ranks(test::RankMode::threads, 3, [&](World& world) {
    world.domain().all_gather({}, "test", world.domain().deadline_after(60s));
    std::string seen;
    if (world.rank() == WorldRank{1}) {
      becomes_true([&] { return text().find(R"("state":"joined")") != std::string::npos; });
      seen = text();
    }
    world.domain().all_gather({}, "test", world.domain().deadline_after(60s));
    return seen;
  });
  test::expect_no_errors(results);
  EXPECT_THAT(results[1].output, HasSubstr(R"("verdict":"healthy")"));
  EXPECT_THAT(text(), HasSubstr(R"("verdict":"ended")"));
  EXPECT_THAT(text(), HasSubstr(R"({"rank":2,"state":"left")"));
  EXPECT_EQ(files(), 1U) << "a draft is left";
}

TEST_F(HealthFileOfWorld, SaysWhyTheJobFailed) {
  test::run_ranks(test::RankMode::threads, 3, [&](World& world) -> std::string {
    if (world.rank() == WorldRank{2}) {
      world.fail(Error(ErrorCode::corrupt, "the model is torn", world.rank(), "load"));
    }
    while (!world.domain().poisoned()) sleep_shortly();
    // Before the first rank has left.
    EXPECT_TRUE(becomes_true([&] { return text().find("the model is torn") != text().npos; }));
    return {};
  });
  EXPECT_THAT(text(), HasSubstr(R"("verdict":"failed")"));
  EXPECT_THAT(
      text(),
      HasSubstr(
          R"("fault":{"code":"corrupt","message":"the model is torn","rank":2,"phase":"load"})"));
  EXPECT_EQ(files(), 1U) << "a draft is left";
}

}  // namespace
}  // namespace cohort::host
