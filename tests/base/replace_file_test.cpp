#include "base/replace_file.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "base/unique_fd.hpp"

namespace cohort {
namespace {

namespace fs = std::filesystem;

/// Each test with both kinds of drafts, in a folder of its own.
class ReplacedFile : public testing::TestWithParam<Draft> {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "cohort-replace-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string place(const std::string& name) const { return (folder_ / name).string(); }
  static std::string content(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  static mode_t permissions(const std::string& path) {
    struct stat status {};
    EXPECT_EQ(::stat(path.c_str(), &status), 0);
    return status.st_mode & 0777;
  }
  std::size_t file_count() const {
    return static_cast<std::size_t>(
        std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
  }

  fs::path folder_;
};

INSTANTIATE_TEST_SUITE_P(Drafts, ReplacedFile, testing::Values(Draft::unnamed, Draft::named),
                         [](const auto& tested) {
                           return tested.param == Draft::named ? "Named" : "Unnamed";
                         });

TEST_P(ReplacedFile, IsWholeOrNotThereAtAll) {
  EXPECT_EQ(replace_file(place("file"), "one", GetParam()), 0);
  EXPECT_EQ(content(place("file")), "one");
  EXPECT_EQ(replace_file(place("file"), "another", GetParam()), 0);
  EXPECT_EQ(content(place("file")), "another");
  EXPECT_EQ(replace_file(place("none/file"), "lost", GetParam()), ENOENT);
  EXPECT_EQ(replace_file(folder_.string(), "over a folder", GetParam()), EISDIR);
  EXPECT_EQ(file_count(), 1U) << "a draft is left";
}

TEST_P(ReplacedFile, KeepsItsPermissionsAndANewOneGetsThoseOfTheUmask) {
  const mode_t before = ::umask(027);
  EXPECT_EQ(replace_file(place("new"), "text", GetParam()), 0);
  ::umask(before);
  EXPECT_EQ(permissions(place("new")), 0640U);
  for (const mode_t mode : {0600U, 0666U, 0755U}) {
    ASSERT_EQ(::chmod(place("new").c_str(), mode), 0);
    EXPECT_EQ(replace_file(place("new"), "text", GetParam()), 0);
    EXPECT_EQ(permissions(place("new")), mode);
  }
}

TEST_P(ReplacedFile, IsWhereLinksLeadTo) {
  fs::create_directory(place("inner"));
  fs::create_symlink("inner/middle", place("link"));
  fs::create_symlink(place("end"), place("inner/middle"));
  EXPECT_EQ(end_of_links(place("link")), place("end"));
  // First nothing is there, then the file.
  for (const char* text : {"new", "newer"}) {
    EXPECT_EQ(replace_file(place("link"), text, GetParam()), 0);
    EXPECT_TRUE(fs::is_symlink(place("link")) && fs::is_symlink(place("inner/middle")));
    EXPECT_TRUE(fs::is_regular_file(fs::symlink_status(place("end"))));
    EXPECT_EQ(content(place("end")), text);
  }
  fs::create_symlink("no/file", place("astray"));
  EXPECT_EQ(replace_file(place("astray"), "lost", GetParam()), ENOENT);
  fs::create_symlink("circle", place("circle"));
  EXPECT_EQ(end_of_links(place("circle")), place("circle"));
  EXPECT_EQ(replace_file(place("circle"), "lost", GetParam()), ELOOP);
  EXPECT_TRUE(fs::is_symlink(place("circle")));
}

TEST_P(ReplacedFile, MayBeNamedFromTheWorkingFolder) {
  const fs::path before = fs::current_path();
  fs::current_path(folder_);
  EXPECT_EQ(replace_file("file", "text", GetParam()), 0);
  fs::current_path(before);
  EXPECT_EQ(content(place("file")), "text");
}

TEST_P(ReplacedFile, IsNoPipeAndNoDevice) {
  ASSERT_EQ(::mkfifo(place("pipe").c_str(), 0600), 0);
  EXPECT_EQ(replace_file(place("pipe"), "text", GetParam()), EINVAL);
  EXPECT_TRUE(fs::is_fifo(place("pipe")));
  EXPECT_EQ(file_count(), 1U);
}

TEST_P(ReplacedFile, IsWrittenByManyAtOnceAndAlwaysWhole) {
  constexpr int kWriters = 4;
  constexpr std::size_t kBytes = 50'000;
  std::atomic<int> running{kWriters};
  std::vector<std::thread> writers;
  ASSERT_EQ(replace_file(place("file"), std::string(kBytes, 'a'), GetParam()), 0);
  for (int writer = 0; writer < kWriters; ++writer) {
    writers.emplace_back([&, writer] {
      const std::string text(kBytes, static_cast<char>('a' + writer));
      for (int i = 0; i < 100; ++i) EXPECT_EQ(replace_file(place("file"), text, GetParam()), 0);
      --running;
    });
  }
  while (running > 0) {
    const std::string seen = content(place("file"));
    EXPECT_EQ(seen.size(), kBytes);
    EXPECT_EQ(seen.find_first_not_of(seen.front()), seen.npos);
  }
  for (std::thread& writer : writers) writer.join();
  EXPECT_EQ(file_count(), 1U);
}

TEST_P(ReplacedFile, LeavesNothingWhereThereIsNoRoom) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{1000, 1000};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    ::_exit(replace_file(place("file"), std::string(5000, 'x'), GetParam()) == EFBIG ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(file_count(), 0U);
}

/// A process that is killed while it writes, over and over. The system takes what has no name.
TEST(KilledWriter, LeavesNoDraftWhereTheFileSystemTakesItBack) {
  std::string folder = (fs::temp_directory_path() / "cohort-killed-XXXXXX").string();
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  if (!UniqueFd(::open(folder.c_str(), O_WRONLY | O_TMPFILE | O_CLOEXEC, 0600))) {
    fs::remove_all(folder);
    GTEST_SKIP() << "this file system has no files without a name";
  }
  for (int kill = 0; kill < 5; ++kill) {
    std::array<int, 2> ends{};
    ASSERT_EQ(::pipe(ends.data()), 0);
    const pid_t pid = ::fork();
    if (pid == 0) {
      // As a rule this takes it far longer than it has.
      const std::string text(256 << 20, 'x');
      static_cast<void>(::write(ends[1], "x", 1));
      static_cast<void>(replace_file(folder + "/file", text));
      ::_exit(0);
    }
    char begun = 0;
    ASSERT_EQ(::read(ends[0], &begun, 1), 1);
    ::usleep(5000);
    ::kill(pid, SIGKILL);
    ASSERT_EQ(::waitpid(pid, nullptr, 0), pid);
    for (const int end : ends) ::close(end);
  }
  fs::remove(folder + "/file");
  EXPECT_TRUE(fs::is_empty(folder)) << "a draft is left";
  fs::remove_all(folder);
}

}  // namespace
}  // namespace cohort
