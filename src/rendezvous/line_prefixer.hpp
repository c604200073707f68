#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace cohort::rendezvous {

/// Puts a prefix before every line of a stream, so that lines of several ranks stay whole.
class LinePrefixer {
 public:
  explicit LinePrefixer(std::string prefix) : prefix_(std::move(prefix)) {}

  /// The lines that `text` completes, each with the prefix. A line that grows past 64 KiB is cut.
  std::string feed(std::string_view text);
  /// What is left of an unfinished last line, ended.
  std::string finish();

 private:
  static constexpr std::size_t kLineBytesMax = 64 * 1024;

  std::string prefix_;
  std::string line_;
};

}  // namespace cohort::rendezvous
