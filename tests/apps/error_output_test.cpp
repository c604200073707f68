#include "error_output.hpp"

#include <sstream>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace cohort {
namespace {

std::string printed(const Error& error, bool json) {
  std::ostringstream stream;
  print_error(error, json, stream);
  return stream.str();
}

TEST(ErrorOutput, ForPeopleIsOneLine) {
  EXPECT_EQ(printed(Error(ErrorCode::usage, "--tp 0 makes no sense"), false),
            "cohort: error: --tp 0 makes no sense\n");
}

TEST(ErrorOutput, WhatAFileSaysCannotSteerTheTerminal) {
  EXPECT_EQ(printed(Error(ErrorCode::corrupt, "key 'a\x1b[2J\nb\x7f' \u00e9"), false),
            "cohort: error: key 'a\\x1b[2J\\x0ab\\x7f' \u00e9\n");
}

TEST(ErrorOutput, AnAbsurdLengthIsCutInTheMiddle) {
  const Error error(ErrorCode::usage, "--tp " + std::string(100'000, '9') + " is no number");
  const std::string line = printed(error, false);
  EXPECT_LT(line.size(), 2100U);
  EXPECT_EQ(line.find("cohort: error: --tp 999"), 0U);
  EXPECT_NE(line.find("999 is no number\n"), std::string::npos);
  EXPECT_LT(printed(error, true).size(), 2200U);
}

TEST(ErrorOutput, JsonCarriesCodeMessageRankAndPhase) {
  const auto document = nlohmann::json::parse(
      printed(Error(ErrorCode::peer_failed, "rank 2 died", WorldRank{2}, "decode"), true));
  EXPECT_EQ(document, nlohmann::json::parse(R"({"error": {"code": "peer_failed",
    "message": "rank 2 died", "rank": 2, "phase": "decode"}})"));
}

TEST(ErrorOutput, JsonSaysNullWhereThereIsNoRankOrPhase) {
  const auto document = nlohmann::json::parse(printed(Error(ErrorCode::system, "no"), true));
  EXPECT_TRUE(document.at("error").at("rank").is_null());
  EXPECT_TRUE(document.at("error").at("phase").is_null());
}

TEST(ErrorOutput, JsonStaysValidWhenAMessageIsNotUtf8) {
  const auto document =
      nlohmann::json::parse(printed(Error(ErrorCode::corrupt, "bad \xff name"), true));
  EXPECT_EQ(document.at("error").at("message"), "bad \xEF\xBF\xBD name");
}

}  // namespace
}  // namespace cohort
