#include "model/tokenizer_special.hpp"

namespace cohort {

void SpecialTokens::add(std::string_view text, TokenId token) {
  std::uint32_t node = 0;
  for (const char byte : text) {
    std::uint32_t next = child(node, byte);
    if (next == kNone) {
      next = static_cast<std::uint32_t>(nodes_.size());
      nodes_[node].children.emplace_back(byte, next);
      nodes_.emplace_back();
    }
    node = next;
  }
  nodes_[node].token = token;
  nodes_[node].ends_token = true;
}

SpecialTokens::Match SpecialTokens::match(std::string_view text) const noexcept {
  Match longest;
  std::uint32_t node = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    node = child(node, text[i]);
    if (node == kNone) break;
    if (nodes_[node].ends_token) longest = {nodes_[node].token, i + 1};
  }
  return longest;
}

std::uint32_t SpecialTokens::child(std::uint32_t node, char byte) const noexcept {
  for (const auto& [edge, target] : nodes_[node].children) {
    if (edge == byte) return target;
  }
  return kNone;
}

}  // namespace cohort
