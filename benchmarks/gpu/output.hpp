#pragma once

#include <cstdio>
#include <string>
#include <utility>
#include <vector>

namespace cohort::gpu_bench {

/// One JSON object, written member by member.
class Json {
 public:
  Json& text(const std::string& key, const std::string& value);
  Json& number(const std::string& key, double value);
  Json& boolean(const std::string& key, bool value);
  Json& object(const std::string& key, const Json& value);
  Json& numbers(const std::string& key, const std::vector<double>& values);
  std::string str() const { return "{" + members_ + "}"; }

 private:
  Json& add(const std::string& key, const std::string& value);
  std::string members_;
};

/// A file of one document a line, complete after every line. Only rank 0 writes.
class Output {
 public:
  /// Throws: std::runtime_error naming the file.
  Output(const std::string& file, bool writes);
  ~Output();
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;
  void line(const Json& document);

 private:
  std::FILE* file_ = nullptr;
  bool owned_ = false;
};

}  // namespace cohort::gpu_bench
