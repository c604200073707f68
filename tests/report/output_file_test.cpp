#include "report/output_file.hpp"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cohort/error.hpp>

namespace cohort {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class OutputFileTest : public testing::Test {
 protected:
  OutputFileTest() { fs::create_directories(folder_); }
  ~OutputFileTest() override { fs::remove_all(folder_); }

  static std::string text_of(const fs::path& path) {
    std::ifstream stream(path);
    return {std::istreambuf_iterator<char>(stream), {}};
  }
  std::size_t file_count() const {
    return static_cast<std::size_t>(
        std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
  }
  static void expect_refused(const std::string& path, const std::string& why) {
    try {
      const OutputFile file("--report", path);
      FAIL() << path << " was taken";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::usage);
      EXPECT_THAT(error.what(), HasSubstr("--report cannot write"));
      EXPECT_THAT(error.what(), HasSubstr(why));
    }
  }

  fs::path folder_ = fs::path(testing::TempDir()) / ("output_file." + std::to_string(::getpid()));
};

TEST_F(OutputFileTest, LeavesWhatThereIsUntilAllIsWritten) {
  const fs::path path = folder_ / "page.html";
  std::ofstream(path) << "before";
  const OutputFile file("--report", path.string());
  EXPECT_EQ(text_of(path), "before");
  EXPECT_EQ(file_count(), 1U) << "a command that is killed now leaves nothing behind";
  file.write("after");
  EXPECT_EQ(text_of(path), "after");
  EXPECT_EQ(file_count(), 1U);
}

TEST_F(OutputFileTest, RefusesAtOnceWhatCannotBeWritten) {
  expect_refused((folder_ / "missing" / "page.html").string(), "No such file");
  expect_refused(folder_.string(), "directory");
  expect_refused("", "to no file");
  std::ofstream(folder_ / "file") << "text";
  expect_refused((folder_ / "file" / "page.html").string(), "Not a directory");
  EXPECT_EQ(file_count(), 1U);
}

TEST_F(OutputFileTest, WritesToWhatIsNoOrdinaryFile) {
  const OutputFile file("--report", "/dev/null");
  file.write("text");
  EXPECT_TRUE(fs::is_character_file("/dev/null"));
}

TEST_F(OutputFileTest, TellsThatTheDiskIsFull) {
  const OutputFile file("--report", "/dev/full");
  try {
    file.write("text");
    FAIL() << "/dev/full took it";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::system);
    EXPECT_THAT(error.what(), HasSubstr("No space left"));
  }
}

TEST_F(OutputFileTest, LeavesNothingWhereTheFolderHasGone) {
  const fs::path inner = folder_ / "inner";
  fs::create_directories(inner);
  const OutputFile file("--report", (inner / "page.html").string());
  fs::remove_all(inner);
  EXPECT_THROW(file.write("text"), Error);
  EXPECT_EQ(file_count(), 0U);
}

}  // namespace
}  // namespace cohort
