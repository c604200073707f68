#include "backend/host/hello.hpp"

#include <new>
#include <stdexcept>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cohort::host {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

Hello some_hello() {
  Hello hello;
  hello.boot_id = "boot";
  hello.socket_name = "cohort-name";
  hello.token = "token";
  return hello;
}

/// What decoding `bytes` of rank 2 ends with.
Error error_of(std::span<const std::byte> bytes) {
  try {
    decode_hello(bytes, WorldRank{2}, some_hello());
  } catch (const Error& error) {
    return error;
  }
  return Error(ErrorCode::usage, "no error");
}

TEST(Hello, IsUnderstoodAsItWasSaid) {
  const Hello heard = decode_hello(encode(some_hello()), WorldRank{2}, some_hello());
  EXPECT_EQ(heard.socket_name, "cohort-name");
  EXPECT_EQ(heard.token, "token");
}

TEST(Hello, ThatIsCutAnywhereNamesItsRank) {
  const std::vector<std::byte> whole = encode(some_hello());
  for (std::size_t bytes = 0; bytes < whole.size(); ++bytes) {
    const Error error = error_of(std::span(whole).first(bytes));
    EXPECT_EQ(error.code(), ErrorCode::corrupt) << bytes;
    EXPECT_EQ(error.rank(), WorldRank{2}) << bytes;
    EXPECT_EQ(error.phase(), "join") << bytes;
  }
}

TEST(Hello, WithAnyByteChangedIsAnErrorAboutItsRankOrHarmless) {
  const std::vector<std::byte> whole = encode(some_hello());
  for (std::size_t i = 0; i < whole.size(); ++i) {
    std::vector<std::byte> changed = whole;
    changed[i] ^= std::byte{0xFF};
    try {
      decode_hello(changed, WorldRank{2}, some_hello());
    } catch (const Error& error) {
      EXPECT_EQ(error.rank(), WorldRank{2}) << "byte " << i << ": " << error.what();
    }
  }
}

TEST(Farewell, SaysCodeRankAndWhyInPlaceOfAHello) {
  const Error why(ErrorCode::out_of_memory, "rank 1 has no memory", WorldRank{1}, "join");
  const std::vector<std::byte> farewell = encode_farewell(why);
  EXPECT_EQ(decode_farewell(farewell)->rank(), WorldRank{1});
  const Error error = error_of(farewell);
  EXPECT_EQ(error.code(), ErrorCode::out_of_memory);
  EXPECT_EQ(error.rank(), WorldRank{1});
  EXPECT_STREQ(error.what(), "rank 1 has no memory");
}

TEST(Farewell, IsCutToWhatOneMessageHolds) {
  const Error why(ErrorCode::system, std::string(5000, 'x'), WorldRank{1}, "join");
  const std::vector<std::byte> farewell = encode_farewell(why);
  EXPECT_LT(farewell.size(), 1024U);
  EXPECT_THAT(decode_farewell(farewell)->what(), StartsWith("xxxx"));
}

TEST(Farewell, IsNoOtherMessage) {
  EXPECT_FALSE(decode_farewell({}));
  EXPECT_FALSE(decode_farewell(encode(some_hello())));
}

TEST(ErrorOfJoining, NamesTheRankItself) {
  const WorldRank self{3};
  EXPECT_EQ(error_of_joining(std::bad_alloc(), self).code(), ErrorCode::out_of_memory);
  const Error none(ErrorCode::system, "could not open a socket");
  EXPECT_EQ(error_of_joining(none, self).rank(), self);
  EXPECT_THAT(error_of_joining(none, self).what(), HasSubstr("rank 3 could not open"));
  EXPECT_EQ(error_of_joining(std::runtime_error("odd"), self).code(), ErrorCode::system);
}

TEST(ErrorOfJoining, LeavesWhatIsAboutAnotherRank) {
  const Error other(ErrorCode::timeout, "rank 1 did not come", WorldRank{1});
  const Error error = error_of_joining(other, WorldRank{3});
  EXPECT_EQ(error.rank(), WorldRank{1});
  EXPECT_EQ(error.phase(), "join");
  EXPECT_STREQ(error.what(), "rank 1 did not come");
}

}  // namespace
}  // namespace cohort::host
