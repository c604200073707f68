#include "model/golden_file.hpp"

#include <fstream>
#include <stdexcept>
#include <utility>

#include <nlohmann/json.hpp>

namespace cohort::test {
namespace {

nlohmann::json read_json(const std::string& path) {
  const std::string full = std::string(COHORT_TEST_DATA) + "/data/" + path;
  std::ifstream file(full);
  if (!file) throw std::runtime_error("cannot open " + full);
  return nlohmann::json::parse(file);
}

}  // namespace

TokenizerGolden read_tokenizer_golden(const std::string& name) {
  const nlohmann::json json = read_json("tokenizer/" + name);
  TokenizerGolden golden;
  golden.spec.pre = "smollm";
  if (json.contains("tokens")) {
    json.at("tokens").get_to(golden.spec.tokens);
    json.at("merges").get_to(golden.spec.merges);
    for (const std::int32_t type : json.at("types")) {
      golden.spec.token_types.push_back(static_cast<TokenType>(type));
    }
    golden.token_count = golden.spec.tokens.size();
    json.at("class_checksum").get_to(golden.class_checksum);
  } else {
    json.at("token_count").get_to(golden.token_count);
  }
  for (const auto& pair : json.at("encode")) golden.encode.push_back({pair.at(0), pair.at(1)});
  for (const auto& pair : json.at("decode")) golden.decode.push_back({pair.at(1), pair.at(0)});
  return golden;
}

TemplateGolden read_template_golden() {
  const nlohmann::json json = read_json("template/golden.json");
  TemplateGolden golden;
  for (const auto& source : json.at("templates")) {
    golden.sources.push_back({source.at(0), source.at(1)});
  }
  for (const auto& turns : json.at("conversations")) {
    std::vector<ChatMessage> messages;
    for (const auto& turn : turns) messages.push_back({turn.at(0), turn.at(1)});
    golden.conversations.push_back(std::move(messages));
  }
  for (const auto& row : json.at("rendered")) {
    golden.rendered.push_back({row.at(0), row.at(1), row.at(2), row.at(3)});
  }
  for (const auto& row : json.at("programs")) {
    std::optional<std::string> text;
    if (!row.at(1).is_null()) text = row.at(1).get<std::string>();
    golden.programs.push_back({row.at(0), std::move(text)});
  }
  return golden;
}

}  // namespace cohort::test
