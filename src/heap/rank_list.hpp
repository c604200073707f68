#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace cohort::heap {

/// "rank 2", "ranks 0, 1, 3".
inline std::string rank_list(const std::vector<std::size_t>& ranks) {
  std::string text = ranks.size() == 1 ? "rank " : "ranks ";
  for (std::size_t i = 0; i < ranks.size(); ++i) {
    if (i > 0) text += ", ";
    text += std::to_string(ranks[i]);
  }
  return text;
}

}  // namespace cohort::heap
