#include "output_file.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cohort/error.hpp>

#include "base/unique_fd.hpp"

namespace cohort {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

class OutputFiles : public testing::Test {
 protected:
  void SetUp() override {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = std::filesystem::temp_directory_path() /
              ("cohort-output-" + std::string(test->name()) + std::to_string(::getpid()));
    std::filesystem::create_directory(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string place(const std::string& name) const { return (folder_ / name).string(); }
  static std::string content(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  std::size_t file_count() const {
    return static_cast<std::size_t>(
        std::distance(std::filesystem::directory_iterator(folder_), {}));
  }
  static std::string error_of(const std::function<void()>& use, ErrorCode code) {
    try {
      use();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), code) << error.what();
      return error.what();
    }
    return "no error";
  }

  std::filesystem::path folder_;
};

TEST_F(OutputFiles, NothingIsThereBeforeItIsWritten) {
  OutputFile file("--output", place("new"));
  EXPECT_EQ(file_count(), 0U);
  file.write("text");
  EXPECT_EQ(content(place("new")), "text");
  EXPECT_EQ(file_count(), 1U);
}

TEST_F(OutputFiles, AFileThatWasThereIsReplacedOnlyByWriting) {
  std::ofstream(place("old")) << "old and longer";
  OutputFile file("--output", place("old"));
  EXPECT_EQ(content(place("old")), "old and longer");
  file.write("new");
  EXPECT_EQ(content(place("old")), "new");
  EXPECT_EQ(file_count(), 1U);
}

TEST_F(OutputFiles, ALinkStaysALink) {
  std::ofstream(place("old")) << "old";
  std::filesystem::create_symlink("old", place("link"));
  OutputFile("--output", place("link")).write("new");
  EXPECT_TRUE(std::filesystem::is_symlink(place("link")));
  EXPECT_EQ(content(place("old")), "new");
}

TEST_F(OutputFiles, ALinkThatLeadsNowhereYetGetsItsFile) {
  std::filesystem::create_symlink("later", place("link"));
  OutputFile("--output", place("link")).write("new");
  EXPECT_TRUE(std::filesystem::is_symlink(place("link")));
  EXPECT_EQ(content(place("later")), "new");
  std::filesystem::create_symlink("no/file", place("astray"));
  EXPECT_THAT(error_of([&] { OutputFile("--output", place("astray")); }, ErrorCode::usage),
              HasSubstr("No such file"));
  EXPECT_NO_THROW(require_writable_place("--health-file", place("link")));
  EXPECT_THAT(
      error_of([&] { require_writable_place("--health-file", place("astray")); }, ErrorCode::usage),
      HasSubstr("No such file"));
}

TEST_F(OutputFiles, AnOpenFileIsWrittenToBehindWhatItHolds) {
  std::ofstream(place("open")) << "before ";
  const UniqueFd open_file(::open(place("open").c_str(), O_WRONLY | O_CLOEXEC));
  // As /dev/stdout where standard output goes into a file.
  const std::string descriptor = "/proc/self/fd/" + std::to_string(open_file.get());
  std::filesystem::create_symlink(descriptor, place("link"));
  OutputFile("--output", place("link")).write("text");
  EXPECT_EQ(content(place("open")), "before text");
  EXPECT_EQ(content(descriptor), "before text");
}

/// How a process ends that SIGTERM meets as a rule while it writes `text`.
int status_of_interrupted_writer(const std::string& path, const std::string& text) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::signal(SIGTERM, SIG_DFL);
    OutputFile file("--output", path);
    sigevent event{};
    event.sigev_notify = SIGEV_SIGNAL;
    event.sigev_signo = SIGTERM;
    timer_t timer{};
    const itimerspec soon{{}, {0, 2'000'000}};
    if (::timer_create(CLOCK_MONOTONIC, &event, &timer) != 0) ::_exit(1);
    ::timer_settime(timer, 0, &soon, nullptr);
    file.write(text);
    ::sleep(60);
    ::_exit(1);
  }
  int status = 0;
  EXPECT_EQ(::waitpid(pid, &status, 0), pid);
  return status;
}

TEST_F(OutputFiles, ASignalWaitsForTheWholeFile) {
  const std::string text(64 << 20, 'x');
  // On a busy machine it may come before the file is begun: then nothing is there.
  for (int attempt = 0; attempt < 20 && file_count() == 0; ++attempt) {
    const int status = status_of_interrupted_writer(place("file"), text);
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
  }
  EXPECT_EQ(file_count(), 1U);
  EXPECT_EQ(content(place("file")).size(), text.size());
}

TEST_F(OutputFiles, WhatCannotBeWrittenIsSaidAtOnce) {
  const auto refusal = [&](const std::string& path) {
    return error_of([&] { OutputFile("--output", path); }, ErrorCode::usage);
  };
  EXPECT_THAT(refusal(place("no/file")),
              AllOf(StartsWith("--output " + place("no/file")), HasSubstr("No such file")));
  EXPECT_THAT(refusal(folder_.string()), HasSubstr("Is a directory"));
  EXPECT_THAT(refusal(""), HasSubstr("cannot be written"));
  std::ofstream(place("old")) << "old";
  EXPECT_THAT(refusal(place("old/file")), HasSubstr("Not a directory"));
  EXPECT_THAT(refusal(place(std::string(300, 'x'))), HasSubstr("File name too long"));
  EXPECT_EQ(file_count(), 1U);
}

TEST_F(OutputFiles, ADeviceIsWrittenToAndNeverReplaced) {
  ASSERT_EQ(::mkfifo(place("pipe").c_str(), 0600), 0);
  const UniqueFd reader(::open(place("pipe").c_str(), O_RDWR | O_CLOEXEC));
  OutputFile("--output", place("pipe")).write("text");
  std::array<char, 8> got{};
  EXPECT_EQ(::read(reader.get(), got.data(), got.size()), 4);
  EXPECT_STREQ(got.data(), "text");
  EXPECT_TRUE(std::filesystem::is_fifo(place("pipe")));
  OutputFile full("--output", "/dev/full");
  EXPECT_THAT(error_of([&] { full.write("text"); }, ErrorCode::system), HasSubstr("No space left"));
}

TEST_F(OutputFiles, APipeThatNobodyReadsIsNotWaitedFor) {
  ASSERT_EQ(::mkfifo(place("pipe").c_str(), 0600), 0);
  OutputFile file("--output", place("pipe"));
  EXPECT_THAT(error_of([&] { file.write("text"); }, ErrorCode::system),
              HasSubstr("No such device or address"));
}

TEST_F(OutputFiles, LookingAtAPipeIsNotItsEnd) {
  ASSERT_EQ(::mkfifo(place("pipe").c_str(), 0600), 0);
  const UniqueFd reader(::open(place("pipe").c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  const OutputFile file("--output", place("pipe"));
  pollfd seen{reader.get(), POLLIN, 0};
  EXPECT_EQ(::poll(&seen, 1, 0), 0) << "no writer has come and gone";
}

TEST_F(OutputFiles, AFolderThatVanishesLeavesNothing) {
  std::filesystem::create_directory(place("inner"));
  OutputFile file("--plot", place("inner/file"));
  std::filesystem::remove(place("inner"));
  EXPECT_THAT(error_of([&] { file.write("text"); }, ErrorCode::system),
              AllOf(StartsWith("--plot "), HasSubstr("untouched")));
  EXPECT_EQ(file_count(), 0U);
}

TEST_F(OutputFiles, AFileThatIsReplacedByItsNameIsNoDevice) {
  EXPECT_NO_THROW(require_writable_place("--health-file", place("new")));
  const auto refusal = [&](const std::string& path) {
    return error_of([&] { require_writable_place("--health-file", path); }, ErrorCode::usage);
  };
  ASSERT_EQ(::mkfifo(place("pipe").c_str(), 0600), 0);
  EXPECT_THAT(refusal(place("pipe")), HasSubstr("no regular file"));
  EXPECT_THAT(refusal("/"), HasSubstr("Is a directory"));
  EXPECT_THAT(refusal(place("no/file")), HasSubstr("No such file"));
}

TEST(WrittenOutput, AStreamThatFailedIsAnErrorOfTheSystem) {
  std::ostringstream stream;
  EXPECT_NO_THROW(require_written(stream));
  stream.setstate(std::ios::badbit);
  EXPECT_THROW(require_written(stream), Error);
}

}  // namespace
}  // namespace cohort
