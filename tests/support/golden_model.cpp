#include "support/golden_model.hpp"

#include <cstdlib>
#include <fstream>
#include <stdexcept>

#include <nlohmann/json.hpp>

namespace cohort::test {

namespace {

nlohmann::json read(const std::string& name) {
  const std::string path = std::string(COHORT_TEST_DATA) + "/data/golden/" + name;
  std::ifstream file(path);
  if (!file) throw std::runtime_error("cannot read " + path);
  return nlohmann::json::parse(file);
}

}  // namespace

GoldenLogits read_golden_logits(const std::string& name) {
  const nlohmann::json document = read(name);
  GoldenLogits golden;
  document.at("fixed_ids").get_to(golden.fixed_ids);
  for (const auto& entry : document.at("prompts")) {
    GoldenLogits::Prompt prompt;
    entry.at("name").get_to(prompt.name);
    entry.at("ids").get_to(prompt.ids);
    entry.at("top_ids").get_to(prompt.top_ids);
    entry.at("top_logits").get_to(prompt.top_logits);
    entry.at("fixed_logits").get_to(prompt.fixed_logits);
    golden.prompts.push_back(std::move(prompt));
  }
  return golden;
}

GoldenTexts read_golden_texts(const std::string& name) {
  const nlohmann::json document = read(name);
  GoldenTexts golden;
  for (const auto& entry : document.at("prompts")) {
    GoldenTexts::Prompt prompt;
    entry.at("name").get_to(prompt.name);
    entry.at("text").get_to(prompt.text);
    entry.at("ids").get_to(prompt.ids);
    entry.at("continuation").get_to(prompt.continuation);
    golden.prompts.push_back(std::move(prompt));
  }
  if (golden.prompts.empty()) throw std::runtime_error(name + " holds no prompts");
  return golden;
}

std::string tiny_model_path() {
  return std::string(COHORT_TEST_DATA) + "/data/tiny/tiny.gguf";
}

std::string tiny_half_split_model_path() {
  return std::string(COHORT_TEST_DATA) + "/data/tiny/tiny_half_split.gguf";
}

std::string real_model_path() {
  const char* path = std::getenv("COHORT_MODEL");
  return path == nullptr ? "" : path;
}

}  // namespace cohort::test
