#include "report/page.hpp"

#include <cohort/version.hpp>

#include "report/page_sources.hpp"

namespace cohort {

namespace {

/// JSON that HTML cannot take for its own: "<" only ever occurs within strings.
std::string within_script(std::string_view json) {
  std::string text;
  text.reserve(json.size());
  for (const char c : json) {
    if (c == '<') {
      text += "\\u003c";
    } else {
      text += c;
    }
  }
  return text;
}

/// The text up to a mark, which it must have; `rest` goes on behind the mark.
std::string_view up_to(std::string_view mark, std::string_view& rest) {
  const std::size_t at = rest.find(mark);
  const std::string_view before = rest.substr(0, at);
  rest.remove_prefix(at + mark.size());
  return before;
}

}  // namespace

std::string report_page(std::string_view json) {
  std::string_view rest = page::kHtml;
  std::string text(up_to("@style@", rest));
  text += page::kCss;
  text += up_to("@data@", rest);
  text += within_script(json);
  text += up_to("@script@", rest);
  for (const std::string_view script : page::kScripts) text += script;
  text += rest;
  return text;
}

std::string command_report(std::string_view kind, std::string_view json) {
  const std::string name(kind);
  return report_page("{\"schema\":1,\"version\":\"" COHORT_VERSION "\",\"kind\":\"" + name +
                     "\",\"" + name + "\":" + std::string(json) + "}");
}

}  // namespace cohort
