#pragma once

// The JSON that a report holds.

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include <nlohmann/json.hpp>

namespace cohort::test {

inline nlohmann::json report_data(const std::filesystem::path& page) {
  std::ifstream stream(page, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(stream), {}};
  const std::string mark = "id=\"report-data\">";
  const std::size_t begin = text.find(mark) + mark.size();
  return nlohmann::json::parse(text.substr(begin, text.find("</script>", begin) - begin));
}

}  // namespace cohort::test
