#include "model/golden_file.hpp"

#include <fstream>
#include <stdexcept>

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

}  // namespace cohort::test
