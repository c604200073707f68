#include "rendezvous/line_prefixer.hpp"

#include <algorithm>

namespace cohort::rendezvous {

std::string LinePrefixer::feed(std::string_view text) {
  std::string lines;
  while (!text.empty()) {
    const std::size_t newline = text.find('\n');
    const std::size_t room = kLineBytesMax - line_.size();
    const std::size_t taken =
        std::min(newline == std::string_view::npos ? text.size() : newline, room);
    line_ += text.substr(0, taken);
    text.remove_prefix(taken);
    const bool ended = !text.empty() && text.front() == '\n';
    if (ended) text.remove_prefix(1);
    if (ended || line_.size() == kLineBytesMax) {
      lines += prefix_ + line_ + "\n";
      line_.clear();
    }
  }
  return lines;
}

std::string LinePrefixer::finish() {
  if (line_.empty()) return {};
  std::string last = prefix_ + line_ + "\n";
  line_.clear();
  return last;
}

}  // namespace cohort::rendezvous
