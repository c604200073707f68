#include "input_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cohort/error.hpp>

#include "base/unique_fd.hpp"
#include "descriptor_path.hpp"

namespace cohort {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

constexpr std::size_t kBytesMax = 100'000;

class InputFiles : public testing::Test {
 protected:
  void SetUp() override {
    path_ = std::filesystem::temp_directory_path() / ("cohort-input-" + std::to_string(::getpid()));
  }
  void TearDown() override { std::filesystem::remove(path_); }

  static std::string error_of(const std::string& path, InputReaders readers) {
    try {
      read_input_file("--file " + path, path, kBytesMax, readers);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::usage);
      return error.what();
    }
    return "no error";
  }

  std::filesystem::path path_;
};

TEST_F(InputFiles, AWholeFileIsRead) {
  std::string text(kBytesMax, 'x');
  text[7] = '\0';
  std::ofstream(path_, std::ios::binary) << text;
  EXPECT_EQ(read_input_file("--file", path_, kBytesMax, InputReaders::all_ranks), text);
  std::ofstream(path_, std::ios::app) << 'x';
  EXPECT_THAT(error_of(path_, InputReaders::all_ranks), HasSubstr("longer than"));
}

TEST_F(InputFiles, WhatCannotBeReadIsNamedWithTheReason) {
  EXPECT_THAT(error_of(path_, InputReaders::command),
              StartsWith("--file " + path_.string() + " cannot be read: No such file"));
  EXPECT_THAT(error_of("/", InputReaders::command), HasSubstr("Is a directory"));
}

/// A pipe without a name that holds `text` and has been written to its end, as `<(...)` of a shell.
UniqueFd pipe_with(const std::string& text) {
  std::array<int, 2> ends{};
  EXPECT_EQ(::pipe(ends.data()), 0);
  const UniqueFd writer(ends[1]);
  EXPECT_EQ(::write(writer.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  return UniqueFd(ends[0]);
}

TEST_F(InputFiles, APipeIsReadOnceByTheCommandAndKeptForRanks) {
  for (const auto readers :
       {InputReaders::command, InputReaders::first_rank, InputReaders::all_ranks}) {
    const UniqueFd pipe = pipe_with("text");
    const std::string path = "/dev/fd/" + std::to_string(pipe.get());
    EXPECT_EQ(read_input_file("--file " + path, path, kBytesMax, readers), "text");
    // Ranks inherit the descriptor, and each reads it from its beginning.
    const std::string again = readers == InputReaders::command ? "" : "text";
    for (int rank = 0; rank < 2; ++rank) {
      EXPECT_EQ(read_input_file("--file " + path, path, kBytesMax, InputReaders::command), again);
    }
    EXPECT_EQ(::fcntl(pipe.get(), F_GETFD), 0) << "new programs have it";
  }
}

TEST_F(InputFiles, APipeWithANameIsForTheCommandAlone) {
  ASSERT_EQ(::mkfifo(path_.c_str(), 0600), 0);
  std::thread writer([&] { std::ofstream(path_) << "text"; });
  EXPECT_EQ(read_input_file("--file", path_, kBytesMax, InputReaders::command), "text");
  writer.join();
  EXPECT_THAT(error_of(path_, InputReaders::first_rank), HasSubstr("no regular file"));
  EXPECT_THAT(error_of(path_, InputReaders::all_ranks), HasSubstr("no regular file"));
}

TEST_F(InputFiles, APipeThatNobodyWritesToIsGivenUp) {
  ASSERT_EQ(::mkfifo(path_.c_str(), 0600), 0);
  const char* const scale = std::getenv("COHORT_DEADLINE_SCALE");
  const std::optional<std::string> before =
      scale ? std::optional<std::string>(scale) : std::nullopt;
  ::setenv("COHORT_DEADLINE_SCALE", "0.01", 1);
  EXPECT_THAT(error_of(path_, InputReaders::command), HasSubstr("nothing comes from it"));
  // Nor is one whose writer falls silent.
  const UniqueFd writer(::open(path_.c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_EQ(::write(writer.get(), "text", 4), 4);
  EXPECT_THAT(error_of(path_, InputReaders::command), HasSubstr("nothing comes from it"));
  ::unsetenv("COHORT_DEADLINE_SCALE");
  if (before) ::setenv("COHORT_DEADLINE_SCALE", before->c_str(), 1);
}

TEST_F(InputFiles, DescriptorsAreKnownByAllTheirNames) {
  EXPECT_EQ(descriptor_of("/dev/stdin"), 0);
  EXPECT_EQ(descriptor_of("/dev/fd/7"), 7);
  EXPECT_EQ(descriptor_of("/proc/self/fd/63"), 63);
  std::filesystem::create_symlink("/dev/stdout", path_);
  EXPECT_EQ(descriptor_of(path_), 1);
  for (const char* other :
       {"", "7", "/", "/dev/null", "/dev/fd/x", "/dev/fd/", "/dev/fd", "/no/7"}) {
    EXPECT_EQ(descriptor_of(other), std::nullopt) << other;
  }
}

TEST_F(InputFiles, WhatNeverEndsIsCutOff) {
  EXPECT_THAT(error_of("/dev/zero", InputReaders::command), HasSubstr("longer than"));
  EXPECT_THAT(error_of("/dev/zero", InputReaders::all_ranks), HasSubstr("no regular file"));
}

}  // namespace
}  // namespace cohort
