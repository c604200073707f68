#include <gtest/gtest.h>

#include <cohort/error.hpp>

namespace cohort {
namespace {

TEST(Error, CarriesWhatWhereAndWho) {
  const Error error(ErrorCode::peer_failed, "rank 2 died", WorldRank{2}, "all_reduce");
  EXPECT_EQ(to_string(error.code()), "peer_failed");
  EXPECT_EQ(error.rank(), WorldRank{2});
  EXPECT_EQ(error.phase(), "all_reduce");
  EXPECT_STREQ(error.what(), "rank 2 died");
}

TEST(Error, ExitCodeSeparatesBadInputFromBadLuck) {
  EXPECT_EQ(Error(ErrorCode::usage, "").exit_code(), 2);
  EXPECT_EQ(Error(ErrorCode::corrupt, "").exit_code(), 2);
  EXPECT_EQ(Error(ErrorCode::unsupported, "").exit_code(), 2);
  EXPECT_EQ(Error(ErrorCode::timeout, "").exit_code(), 1);
  EXPECT_EQ(Error(ErrorCode::strict_miss, "").exit_code(), 1);
}

}  // namespace
}  // namespace cohort
