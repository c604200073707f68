#include "input_file.hpp"

#include <unistd.h>

#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cohort/error.hpp>

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
      read_input_file("--file", path, kBytesMax, readers);
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
  EXPECT_EQ(read_input_file("--file", path_, kBytesMax, InputReaders::ranks_too), text);
  std::ofstream(path_, std::ios::app) << 'x';
  EXPECT_THAT(error_of(path_, InputReaders::ranks_too), HasSubstr("longer than"));
}

TEST_F(InputFiles, WhatCannotBeReadIsNamedWithTheReason) {
  EXPECT_THAT(error_of(path_, InputReaders::command),
              StartsWith("--file " + path_.string() + " cannot be read: No such file"));
  EXPECT_THAT(error_of("/", InputReaders::command), HasSubstr("Is a directory"));
}

TEST_F(InputFiles, WhatNeverEndsIsCutOff) {
  EXPECT_THAT(error_of("/dev/zero", InputReaders::command), HasSubstr("longer than"));
  EXPECT_THAT(error_of("/dev/zero", InputReaders::ranks_too), HasSubstr("no regular file"));
}

}  // namespace
}  // namespace cohort
