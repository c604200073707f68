#include "error_output.hpp"

#include <ostream>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "terminal.hpp"

namespace cohort {

namespace {

/// Longer ones quote a flag of absurd length; both ends say what is wrong.
constexpr std::size_t kMessageBytesMax = 2000;

std::string shortened(std::string_view text) {
  if (text.size() <= kMessageBytesMax) return std::string(text);
  constexpr std::size_t kHalf = kMessageBytesMax / 2;
  return std::string(text.substr(0, kHalf)) + " [...] " +
         std::string(text.substr(text.size() - kHalf));
}

/// `text` on one line that a terminal shows as it stands: a message may quote a file or a flag.
std::string printable(std::string_view text) {
  constexpr std::string_view kHexDigits = "0123456789abcdef";
  std::string line;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte != 0x7f) {
      line += c;
    } else {
      line += "\\x";
      line += kHexDigits[byte >> 4U];
      line += kHexDigits[byte & 15U];
    }
  }
  return line;
}

}  // namespace

void print_error(const Error& error, bool json, std::ostream& stream) {
  if (!json) {
    const Terminal terminal = terminal_of(stream);
    // A rank that was killed may have left its progress on this line.
    if (terminal.live) stream << "\r\x1b[K";
    stream << inked("cohort: error:", Ink::red, terminal) << ' '
           << printable(shortened(error.what())) << std::endl;
    return;
  }
  nlohmann::ordered_json fields;
  fields["code"] = to_string(error.code());
  fields["message"] = shortened(error.what());
  fields["rank"] = nullptr;
  if (error.rank()) fields["rank"] = error.rank()->index();
  fields["phase"] = nullptr;
  if (!error.phase().empty()) fields["phase"] = error.phase();
  const nlohmann::ordered_json document{{"error", fields}};
  // A message may quote bytes of a broken file or flag: what is not UTF-8 becomes U+FFFD.
  using Handler = nlohmann::ordered_json::error_handler_t;
  stream << document.dump(-1, ' ', false, Handler::replace) << std::endl;
}

}  // namespace cohort
