#include "rendezvous/protocol.hpp"

#include <cstring>
#include <utility>

#include "rendezvous/wire.hpp"

namespace cohort::rendezvous {
namespace {

struct FrameHeader {
  std::uint32_t type;
  std::uint32_t payload_bytes;
};
static_assert(sizeof(ExecFailedFrame) == sizeof(FrameHeader) + sizeof(std::int32_t));

constexpr std::uint32_t kPayloadBytesMax = 64u << 20;
constexpr std::uint32_t kNoRank = ~std::uint32_t{0};

}  // namespace

std::vector<std::byte> encode_frame(FrameType type, std::span<const std::byte> payload) {
  const FrameHeader header{static_cast<std::uint32_t>(type),
                           static_cast<std::uint32_t>(payload.size())};
  std::vector<std::byte> bytes(sizeof header + payload.size());
  std::memcpy(bytes.data(), &header, sizeof header);
  if (!payload.empty()) std::memcpy(bytes.data() + sizeof header, payload.data(), payload.size());
  return bytes;
}

void FrameReader::feed(std::span<const std::byte> bytes) {
  buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
}

std::optional<Frame> FrameReader::next() {
  FrameHeader header{};
  if (buffer_.size() < sizeof header) return std::nullopt;
  std::memcpy(&header, buffer_.data(), sizeof header);
  if (header.type < static_cast<std::uint32_t>(FrameType::gather) ||
      header.type > static_cast<std::uint32_t>(FrameType::failed) ||
      header.payload_bytes > kPayloadBytesMax) {
    throw Error(
        ErrorCode::corrupt,
        "a message between rank and launcher is not one of theirs; start both from the same "
        "build",
        std::nullopt, "join");
  }
  const std::size_t frame_bytes = sizeof header + header.payload_bytes;
  if (buffer_.size() < frame_bytes) return std::nullopt;
  const auto begin = buffer_.begin() + static_cast<std::ptrdiff_t>(sizeof header);
  const auto end = buffer_.begin() + static_cast<std::ptrdiff_t>(frame_bytes);
  Frame frame{static_cast<FrameType>(header.type), std::vector<std::byte>(begin, end)};
  buffer_.erase(buffer_.begin(), end);
  return frame;
}

std::vector<std::byte> encode_error(const Error& error) {
  wire::Writer writer;
  writer.put(static_cast<std::uint32_t>(error.code()));
  writer.put(error.rank() ? error.rank()->index() : kNoRank);
  writer.put_text(error.phase());
  writer.put_text(error.what());
  return writer.take();
}

Error decode_error(std::span<const std::byte> payload) {
  wire::Reader reader(payload);
  auto code = static_cast<ErrorCode>(reader.get<std::uint32_t>());
  // Another version's enumerator: the text still says what happened.
  if (to_string(code) == "unknown") code = ErrorCode::system;
  const auto rank = reader.get<std::uint32_t>();
  std::string phase = reader.get_text();
  const std::string text = reader.get_text();
  std::optional<WorldRank> about;
  if (rank != kNoRank) about = WorldRank{rank};
  return Error(code, text, about, std::move(phase));
}

}  // namespace cohort::rendezvous
