#include "model/gguf_cursor.hpp"

#include <bit>
#include <utility>

namespace cohort {
namespace {

static_assert(std::endian::native == std::endian::little, "fields are copied as they stand");

constexpr std::size_t kQuotedBytesMax = 80;

}  // namespace

std::string quoted(std::string_view text) {
  constexpr std::string_view kHexDigits = "0123456789abcdef";
  std::string out = "'";
  for (const char character : text.substr(0, kQuotedBytesMax)) {
    const auto byte = static_cast<unsigned char>(character);
    if (byte >= 0x20 && byte < 0x7f) {
      out += character;
    } else {
      out += "\\x";
      out += kHexDigits[byte >> 4];
      out += kHexDigits[byte & 15];
    }
  }
  return out + (text.size() > kQuotedBytesMax ? "...'" : "'");
}

GgufCursor::GgufCursor(std::span<const std::byte> bytes, std::string file)
    : bytes_(bytes), file_(std::move(file)) {}

std::string_view GgufCursor::read_string(std::string_view field) {
  const auto length = read<std::uint64_t>(field);
  const std::span<const std::byte> text = take(length, field);
  return {reinterpret_cast<const char*>(text.data()), text.size()};
}

std::span<const std::byte> GgufCursor::take(std::uint64_t count, std::string_view field) {
  if (count > remaining_bytes()) {
    refuse(ErrorCode::corrupt, std::string(field) + " at byte " + std::to_string(position_bytes_) +
                                   " needs " + std::to_string(count) + " bytes, the file has " +
                                   std::to_string(remaining_bytes()) + " left; is it complete?");
  }
  const std::span<const std::byte> taken = bytes_.subspan(position_bytes_, count);
  position_bytes_ += count;
  return taken;
}

void GgufCursor::refuse(ErrorCode code, const std::string& problem) const {
  throw Error(code, "model file " + file_ + ": " + problem, std::nullopt, "load");
}

}  // namespace cohort
