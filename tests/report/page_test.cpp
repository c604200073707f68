#include "report/page.hpp"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace cohort {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

/// The JSON that a page holds.
nlohmann::ordered_json data_of(const std::string& page) {
  const std::string mark = "<script type=\"application/json\" id=\"report-data\">";
  const std::size_t begin = page.find(mark) + mark.size();
  return nlohmann::ordered_json::parse(page.substr(begin, page.find("</script>", begin) - begin));
}

TEST(ReportPage, IsCompleteInItself) {
  const std::string page = report_page(R"({"kind":"bench"})");
  EXPECT_THAT(page, StartsWith("<!doctype html>"));
  EXPECT_THAT(page, EndsWith("</html>\n"));
  EXPECT_THAT(page, HasSubstr("default-src 'none'"));
  for (const char* mark : {"@style@", "@data@", "@script@", "src=", "<link", "@import", "url(h"}) {
    EXPECT_THAT(page, Not(HasSubstr(mark)));
  }
}

TEST(ReportPage, HoldsTheDocumentWhateverItsTextsAre) {
  const nlohmann::ordered_json document{
      {"kind", "faults"}, {"text", "</script><script>alert(1)</script><!-- \" @script@ \\u003c"}};
  const std::string page = report_page(document.dump());
  EXPECT_EQ(data_of(page), document);
  EXPECT_THAT(page, Not(HasSubstr("alert(1)</script>")));
}

TEST(ReportPage, NamesTheCommandWhoseDocumentItIs) {
  const auto data = data_of(command_report("faults", R"({"ranks":4})"));
  EXPECT_EQ(data.at("schema"), 1);
  EXPECT_EQ(data.at("kind"), "faults");
  EXPECT_EQ(data.at("faults").at("ranks"), 4);
}

}  // namespace
}  // namespace cohort
