#include "rendezvous/launched_rank.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <map>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cohort/bootstrap.hpp>

#include "base/unique_fd.hpp"

namespace cohort::rendezvous {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::optional<RankEnvironment> parse(const std::map<std::string, std::string>& variables) {
  return parse_rank_environment([&](const char* name) -> const char* {
    const auto entry = variables.find(name);
    return entry == variables.end() ? nullptr : entry->second.c_str();
  });
}

std::string refusal(const std::map<std::string, std::string>& variables) {
  try {
    parse(variables);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::usage);
    return error.what();
  }
  ADD_FAILURE() << "accepted";
  return {};
}

class RankEnvironmentTest : public testing::Test {
 protected:
  RankEnvironmentTest() {
    int ends[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    mine_.reset(ends[0]);
    other_.reset(ends[1]);
  }
  std::map<std::string, std::string> with(const std::string& rank, const std::string& count) const {
    return {{"COHORT_RANK", rank},
            {"COHORT_WORLD_SIZE", count},
            {"COHORT_BOOTSTRAP_FD", std::to_string(mine_.get())}};
  }

  UniqueFd mine_;
  UniqueFd other_;
};

TEST_F(RankEnvironmentTest, NothingSetIsAWorldOfOne) {
  EXPECT_FALSE(parse({}));
  EXPECT_FALSE(started_by_launcher());
  const auto bootstrap = Bootstrap::from_environment();
  EXPECT_EQ(bootstrap->world_size(), 1u);
  EXPECT_EQ(bootstrap->rank(), WorldRank{0});
  EXPECT_FALSE(report_error(Error(ErrorCode::usage, "nobody listens")));
}

TEST_F(RankEnvironmentTest, AWholeEnvironmentIsTaken) {
  const auto environment = parse(with("3", "4"));
  ASSERT_TRUE(environment);
  EXPECT_EQ(environment->rank, WorldRank{3});
  EXPECT_EQ(environment->rank_count, 4u);
  EXPECT_EQ(environment->socket, mine_.get());
}

TEST_F(RankEnvironmentTest, AMissingVariableIsNamed) {
  for (const std::string missing : {"COHORT_RANK", "COHORT_WORLD_SIZE", "COHORT_BOOTSTRAP_FD"}) {
    auto variables = with("0", "2");
    variables.erase(missing);
    EXPECT_THAT(refusal(variables), HasSubstr(missing + " is not"));
  }
}

TEST_F(RankEnvironmentTest, AContradictionNamesTheVariables) {
  EXPECT_THAT(refusal(with("4", "4")),
              AllOf(HasSubstr("COHORT_RANK=4"), HasSubstr("COHORT_WORLD_SIZE=4")));
  EXPECT_THAT(refusal(with("0", "0")), HasSubstr("COHORT_WORLD_SIZE=0"));
  EXPECT_THAT(refusal(with("0", "4000000000")), HasSubstr("COHORT_WORLD_SIZE=4000000000"));
}

TEST_F(RankEnvironmentTest, WhatIsNoNumberIsQuoted) {
  for (const std::string text : {"", "-1", "1x", "0x1", " 1", "99999999999"}) {
    EXPECT_THAT(refusal(with(text, "2")), HasSubstr("COHORT_RANK='" + text + "'"));
  }
}

TEST_F(RankEnvironmentTest, ADescriptorThatIsNoSocketIsRefused) {
  auto variables = with("0", "2");
  variables["COHORT_BOOTSTRAP_FD"] = std::to_string(STDIN_FILENO);
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const UniqueFd read_end(ends[0]), write_end(ends[1]);
  variables["COHORT_BOOTSTRAP_FD"] = std::to_string(read_end.get());
  EXPECT_THAT(refusal(variables), HasSubstr("COHORT_BOOTSTRAP_FD="));
  variables["COHORT_BOOTSTRAP_FD"] = "19999";
  EXPECT_THAT(refusal(variables), HasSubstr("COHORT_BOOTSTRAP_FD=19999"));
}

}  // namespace
}  // namespace cohort::rendezvous
