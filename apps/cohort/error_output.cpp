#include "error_output.hpp"

#include <ostream>
#include <string>

#include <nlohmann/json.hpp>

#include "terminal.hpp"

namespace cohort {

void print_error(const Error& error, bool json, std::ostream& stream) {
  if (!json) {
    const Terminal terminal = terminal_of(stream);
    // A rank that was killed may have left its progress on this line.
    if (terminal.live) stream << "\r\x1b[K";
    stream << inked("cohort: error:", Ink::red, terminal) << ' ' << error.what() << std::endl;
    return;
  }
  nlohmann::ordered_json fields;
  fields["code"] = to_string(error.code());
  fields["message"] = error.what();
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
