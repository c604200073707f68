#include <map>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cohort/error.hpp>

#include "rendezvous/torchrun.hpp"

namespace cohort::rendezvous {
namespace {

using testing::AllOf;
using testing::HasSubstr;

using Variables = std::map<std::string, std::string>;

const Variables kWhole{{"RANK", "1"},
                       {"WORLD_SIZE", "4"},
                       {"LOCAL_RANK", "1"},
                       {"MASTER_ADDR", "127.0.0.1"},
                       {"MASTER_PORT", "29500"},
                       {"LOCAL_WORLD_SIZE", "4"},
                       {"GROUP_WORLD_SIZE", "1"},
                       {"TORCHELASTIC_RUN_ID", "none"},
                       {"TORCHELASTIC_RESTART_COUNT", "0"}};

std::optional<TorchrunEnvironment> parse(const Variables& variables, std::uint32_t user = 1000) {
  return parse_torchrun_environment(
      [&](const char* name) -> const char* {
        const auto entry = variables.find(name);
        return entry == variables.end() ? nullptr : entry->second.c_str();
      },
      user);
}

Variables with(const std::string& name, const std::string& value) {
  Variables variables = kWhole;
  variables[name] = value;
  return variables;
}

Variables without(const std::string& name) {
  Variables variables = kWhole;
  variables.erase(name);
  return variables;
}

std::string refusal(const Variables& variables, ErrorCode code = ErrorCode::usage) {
  try {
    parse(variables);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "accepted";
  return {};
}

TEST(TorchrunEnvironment, AWholeOneIsTaken) {
  const auto environment = parse(kWhole);
  ASSERT_TRUE(environment);
  EXPECT_EQ(environment->rank, WorldRank{1});
  EXPECT_EQ(environment->rank_count, 4U);
  EXPECT_EQ(environment->meeting, "MASTER_ADDR=127.0.0.1 MASTER_PORT=29500");
  EXPECT_LT(environment->socket_name.size(), 100U);
}

TEST(TorchrunEnvironment, CommonNamesAloneAreNotIts) {
  EXPECT_FALSE(parse({}));
  EXPECT_FALSE(parse({{"RANK", "1"}, {"WORLD_SIZE", "4"}}));
  EXPECT_FALSE(parse({{"WORLD_SIZE", "4"}, {"MASTER_ADDR", "a"}, {"MASTER_PORT", "1"}}));
}

TEST(TorchrunEnvironment, WhatIsMissingIsNamed) {
  for (const std::string name :
       {"RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"}) {
    EXPECT_THAT(refusal(without(name)), HasSubstr(" is set but " + name + " is not; torchrun"));
  }
}

TEST(TorchrunEnvironment, ContradictionsNameBothVariables) {
  EXPECT_EQ(refusal(with("RANK", "4")), "RANK=4 is not below WORLD_SIZE=4");
  EXPECT_THAT(refusal(with("WORLD_SIZE", "0")), HasSubstr("WORLD_SIZE=0 is not from 1 to"));
  EXPECT_THAT(refusal(with("MASTER_PORT", "0")), HasSubstr("MASTER_PORT=0 is no port"));
  for (const std::string text : {"", "-1", "1x", " 1", "99999999999"}) {
    EXPECT_EQ(refusal(with("RANK", text)), "RANK='" + text + "' is not a number");
  }
}

TEST(TorchrunEnvironment, SeveralHostsAreRefused) {
  EXPECT_THAT(refusal(with("LOCAL_RANK", "0"), ErrorCode::unsupported),
              AllOf(HasSubstr("LOCAL_RANK=0"), HasSubstr("RANK=1"), HasSubstr("several hosts")));
  EXPECT_THAT(refusal(with("LOCAL_WORLD_SIZE", "2"), ErrorCode::unsupported),
              AllOf(HasSubstr("LOCAL_WORLD_SIZE=2"), HasSubstr("WORLD_SIZE=4")));
  EXPECT_THAT(refusal(with("GROUP_WORLD_SIZE", "2"), ErrorCode::unsupported),
              HasSubstr("GROUP_WORLD_SIZE=2"));
  EXPECT_TRUE(parse(without("LOCAL_WORLD_SIZE"))) << "old versions do not set it";
}

TEST(TorchrunEnvironment, JobsMeetApart) {
  const std::string name = parse(kWhole)->socket_name;
  EXPECT_EQ(parse(with("RANK", "1"))->socket_name, name);
  EXPECT_NE(parse(kWhole, 1001)->socket_name, name);
  for (const std::string variable :
       {"MASTER_PORT", "TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT"}) {
    EXPECT_NE(parse(with(variable, "7"))->socket_name, name) << variable;
  }
  EXPECT_NE(parse(with("MASTER_ADDR", "other"))->socket_name, name);
}

}  // namespace
}  // namespace cohort::rendezvous
