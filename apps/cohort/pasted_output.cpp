#include "pasted_output.hpp"

#include <nlohmann/json.hpp>

#include "base/wrapped.hpp"

namespace cohort {

namespace {

constexpr std::size_t kIndent = 10;
constexpr std::size_t kColumns = 80;

/// "read      first line\n          second line\n"
std::string paragraph(const std::string& title, const std::string& text) {
  std::string lines;
  for (const std::string& line : wrapped(text, kColumns - kIndent)) {
    const std::string head = lines.empty() ? title : "";
    lines += head + std::string(kIndent - head.size(), ' ') + line + "\n";
  }
  return lines;
}

std::string joined(const std::vector<std::string>& parts) {
  std::string text;
  for (const std::string& part : parts) text += (text.empty() ? "" : ", ") + part;
  return text;
}

}  // namespace

std::string pasted_as_text(const PastedCommand& pasted) {
  std::vector<std::string> read;
  for (const PastedCommand::Flag& flag : pasted.flags) {
    read.push_back(flag.text + (flag.own.empty() ? "" : " (here " + flag.own + ")"));
  }
  std::string text =
      "From the command of " + pasted.engine + ":\n" +
      paragraph("read", read.empty() ? "nothing: one rank" : joined(read)) +
      paragraph("ignored", pasted.ignored.empty() ? "nothing" : joined(pasted.ignored));
  for (const std::string& note : pasted.notes) text += paragraph("note", note);
  return text;
}

std::string pasted_as_json(const PastedCommand& pasted) {
  nlohmann::ordered_json document{{"engine", pasted.engine}};
  document["read"] = nlohmann::ordered_json::array();
  for (const PastedCommand::Flag& flag : pasted.flags) {
    document["read"].push_back({{"flag", flag.text}, {"here", flag.own}});
  }
  document["ignored"] = pasted.ignored;
  document["notes"] = pasted.notes;
  // What was pasted may hold anything.
  return document.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace cohort
