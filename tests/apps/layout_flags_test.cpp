#include "layout_flags.hpp"

#include <string>

#include <CLI/CLI.hpp>
#include <gtest/gtest.h>

#include <cohort/error.hpp>

namespace cohort {
namespace {

LayoutFlags parse(const std::string& command_line) {
  LayoutFlags flags;
  CLI::App app;
  add_layout_flags(app, flags);
  app.parse(command_line);
  return flags;
}

LayoutSizes sizes_of(const std::string& command_line) {
  return parse(command_line).sizes();
}

TEST(LayoutFlags, DefaultsAreOne) {
  EXPECT_EQ(sizes_of(""), LayoutSizes{});
  EXPECT_EQ(parse("").tp, std::nullopt);
}

TEST(LayoutFlags, OwnSpellings) {
  EXPECT_EQ(sizes_of("--tp 8 --attn-dp 2 --attn-cp 4 --ep 4 --moe-dp 2 --pp 3 --dcp 8 "
                     "--ranks-per-host 12"),
            (LayoutSizes{.tp = 8,
                         .attn_dp = 2,
                         .attn_cp = 4,
                         .ep = 4,
                         .moe_dp = 2,
                         .pp = 3,
                         .dcp = 8,
                         .ranks_per_host = 12}));
}

TEST(LayoutFlags, SglangSpellings) {
  EXPECT_EQ(
      sizes_of("--tp-size 8 --dp-size 2 --enable-dp-attention --attn-cp-size 4 --ep-size 4 "
               "--moe-dp-size 2 --pp-size 3 --dcp-size 8"),
      (LayoutSizes{.tp = 8, .attn_dp = 2, .attn_cp = 4, .ep = 4, .moe_dp = 2, .pp = 3, .dcp = 8}));
  EXPECT_EQ(
      sizes_of("--tensor-parallel-size 8 --data-parallel-size 2 --enable-dp-attention "
               "--attention-context-parallel-size 4 --expert-parallel-size 4 "
               "--moe-data-parallel-size 2 --pipeline-parallel-size 3 "
               "--decode-context-parallel-size 8"),
      (LayoutSizes{.tp = 8, .attn_dp = 2, .attn_cp = 4, .ep = 4, .moe_dp = 2, .pp = 3, .dcp = 8}));
  EXPECT_EQ(sizes_of("--tp=4 --attn-dp-size=4").attn_dp, 4u);
}

TEST(LayoutFlags, DpSizeCountsOnlyWithDpAttention) {
  EXPECT_EQ(sizes_of("--dp-size 1").attn_dp, 1u);
  EXPECT_EQ(sizes_of("--enable-dp-attention").attn_dp, 1u);
  EXPECT_EQ(sizes_of("--attn-dp 2 --enable-dp-attention").attn_dp, 2u);
  EXPECT_EQ(sizes_of("--attn-dp 2 --dp-size 2 --enable-dp-attention").attn_dp, 2u);
  try {
    sizes_of("--tp 4 --dp-size 2");
    ADD_FAILURE() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::usage);
    EXPECT_STREQ(error.what(),
                 "--dp-size 2 needs --enable-dp-attention: without it the replicas are separate "
                 "servers, not ranks of one layout (--attn-dp 2 says both at once)");
  }
  try {
    sizes_of("--tp 4 --dp-size 2 --attn-dp 4 --enable-dp-attention");
    ADD_FAILURE() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::usage);
    EXPECT_STREQ(error.what(),
                 "--attn-dp 4 contradicts --dp-size 2 --enable-dp-attention: give one of them");
  }
}

TEST(LayoutFlags, ValuesThatAreNoCountsAreParseErrorsOfOneLine) {
  for (const std::string value : {"0", "-1", "+2", "abc", "2.5", "2x", "0x4", "1e3", "65537",
                                  "4294967297", "99999999999999999999"}) {
    try {
      sizes_of("--attn-cp-size=" + value);
      ADD_FAILURE() << "accepted: " << value;
    } catch (const CLI::ParseError& error) {
      EXPECT_EQ(std::string(error.what()),
                "--attn-cp: '" + value + "' is not a whole number from 1 to 65536");
      EXPECT_NE(error.get_exit_code(), 0);
    }
  }
}

TEST(LayoutFlags, MissingValueUnknownFlagAndRepetitionAreParseErrors) {
  EXPECT_THROW(sizes_of("--tp"), CLI::ParseError);
  EXPECT_THROW(sizes_of("--tp 2 --tp-size 4"), CLI::ParseError);
  EXPECT_THROW(sizes_of("--tensor 2"), CLI::ParseError);
}

}  // namespace
}  // namespace cohort
