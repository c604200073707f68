#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "model/token_id.hpp"

namespace cohort {

/// Tokens that are found by their text, before any word is cut: a trie over bytes.
/// Immutable once filled; any number of threads may read it.
class SpecialTokens {
 public:
  struct Match {
    TokenId token = 0;
    std::size_t byte_count = 0;  // 0: none
  };

  /// Adds a token under its text, which must not be empty or present.
  void add(std::string_view text, TokenId token);

  /// The longest token that `text` begins with. Local.
  Match match(std::string_view text) const noexcept;

 private:
  static constexpr std::uint32_t kNone = UINT32_MAX;

  struct Node {
    std::vector<std::pair<char, std::uint32_t>> children;
    TokenId token = 0;
    bool ends_token = false;
  };

  std::uint32_t child(std::uint32_t node, char byte) const noexcept;

  std::vector<Node> nodes_{1};
};

}  // namespace cohort
