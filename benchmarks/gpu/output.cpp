#include "output.hpp"

#include <array>
#include <stdexcept>

namespace cohort::gpu_bench {
namespace {

std::string quoted(const std::string& text) {
  std::string result = "\"";
  for (const char letter : text) {
    if (letter == '"' || letter == '\\') result += '\\';
    // What libraries say in errors is text for people: control characters are no loss.
    result += static_cast<unsigned char>(letter) < 0x20 ? ' ' : letter;
  }
  return result + "\"";
}

std::string spelled(double value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.10g", value);
  return text.data();
}

}  // namespace

Json& Json::add(const std::string& key, const std::string& value) {
  if (!members_.empty()) members_ += ", ";
  members_ += quoted(key) + ": " + value;
  return *this;
}
Json& Json::text(const std::string& key, const std::string& value) {
  return add(key, quoted(value));
}
Json& Json::number(const std::string& key, double value) {
  return add(key, spelled(value));
}
Json& Json::boolean(const std::string& key, bool value) {
  return add(key, value ? "true" : "false");
}
Json& Json::object(const std::string& key, const Json& value) {
  return add(key, value.str());
}
Json& Json::numbers(const std::string& key, const std::vector<double>& values) {
  std::string list;
  for (const double value : values) list += (list.empty() ? "" : ", ") + spelled(value);
  return add(key, "[" + list + "]");
}

Output::Output(const std::string& file, bool writes) {
  if (!writes) return;
  owned_ = !file.empty();
  file_ = owned_ ? std::fopen(file.c_str(), "we") : stdout;
  if (file_ == nullptr) throw std::runtime_error("cannot write " + file);
}

Output::~Output() {
  if (owned_ && file_ != nullptr) std::fclose(file_);
}

void Output::line(const Json& document) {
  if (file_ == nullptr) return;
  std::fprintf(file_, "%s\n", document.str().c_str());
  std::fflush(file_);
}

}  // namespace cohort::gpu_bench
