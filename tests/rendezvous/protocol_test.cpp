#include "rendezvous/protocol.hpp"

#include <string>

#include <gtest/gtest.h>

#include "rendezvous/wire.hpp"

namespace cohort::rendezvous {
namespace {

std::vector<std::byte> bytes_of(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

TEST(Protocol, FramesSurviveAnyCutOfTheStream) {
  std::vector<std::byte> stream;
  for (const std::string_view text : {"", "a", "some longer payload"}) {
    const auto frame = encode_frame(FrameType::gather, bytes_of(text));
    stream.insert(stream.end(), frame.begin(), frame.end());
  }
  for (std::size_t piece = 1; piece <= stream.size(); ++piece) {
    FrameReader reader;
    std::vector<std::vector<std::byte>> payloads;
    for (std::size_t begin = 0; begin < stream.size(); begin += piece) {
      reader.feed(std::span(stream).subspan(begin, std::min(piece, stream.size() - begin)));
      while (auto frame = reader.next()) payloads.push_back(frame->payload);
    }
    ASSERT_EQ(payloads.size(), 3u);
    EXPECT_EQ(payloads[0], bytes_of(""));
    EXPECT_EQ(payloads[1], bytes_of("a"));
    EXPECT_EQ(payloads[2], bytes_of("some longer payload"));
  }
}

TEST(Protocol, AStreamOfSomethingElseIsRefused) {
  FrameReader reader;
  reader.feed(bytes_of("GET / HTTP/1.1\r\n"));
  EXPECT_THROW(reader.next(), Error);
  FrameReader huge;
  huge.feed(encode_frame(FrameType::gather, {}));
  ASSERT_TRUE(huge.next());
  auto frame = encode_frame(FrameType::gather, {});
  frame[7] = std::byte{0xff};
  huge.feed(frame);
  EXPECT_THROW(huge.next(), Error);
}

TEST(Protocol, ErrorsKeepTheirFields) {
  const Error error(ErrorCode::timeout, "rank 0 waited", WorldRank{3}, "commit");
  const Error decoded = decode_error(encode_error(error));
  EXPECT_EQ(decoded.code(), error.code());
  EXPECT_EQ(decoded.rank(), error.rank());
  EXPECT_EQ(decoded.phase(), error.phase());
  EXPECT_STREQ(decoded.what(), error.what());
  EXPECT_EQ(decode_error(encode_error(Error(ErrorCode::usage, ""))).rank(), std::nullopt);
}

TEST(Protocol, EveryShortenedErrorIsRefused) {
  const auto bytes = encode_error(Error(ErrorCode::usage, "text", WorldRank{1}, "phase"));
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_THROW(decode_error(std::span(bytes).first(size)), Error) << size;
  }
}

TEST(Protocol, AnErrorCodeFromTheFutureIsASystemError) {
  auto bytes = encode_error(Error(ErrorCode::usage, "text"));
  bytes[0] = std::byte{200};
  EXPECT_EQ(decode_error(bytes).code(), ErrorCode::system);
}

}  // namespace
}  // namespace cohort::rendezvous
