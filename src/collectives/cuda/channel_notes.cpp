#include "collectives/cuda/channel_notes.hpp"

#include <algorithm>
#include <cstring>

namespace cohort::cuda {

// The number goes first: who reads a word of the next text has thereby seen that it has gone.
void RefusalNote::store(std::uint64_t number, std::string_view text) noexcept {
  std::array<std::uint64_t, std::tuple_size_v<decltype(text_)>> words{};
  std::memcpy(words.data(), text.data(), std::min(text.size(), sizeof(words)));
  number_.store(0, std::memory_order_relaxed);
  for (std::size_t i = 0; i < words.size(); ++i) {
    text_[i].store(words[i], std::memory_order_release);
  }
  number_.store(number, std::memory_order_release);
}

std::optional<std::string> RefusalNote::load_of(std::uint64_t number) const {
  if (number_.load(std::memory_order_acquire) != number) return std::nullopt;
  std::array<std::uint64_t, std::tuple_size_v<decltype(text_)>> words{};
  for (std::size_t i = 0; i < words.size(); ++i) {
    words[i] = text_[i].load(std::memory_order_acquire);
  }
  if (number_.load(std::memory_order_acquire) != number) return std::nullopt;
  const auto* const text = reinterpret_cast<const char*>(words.data());
  return std::string(text, ::strnlen(text, sizeof(words)));
}

std::optional<std::string> ChannelNotes::refusal_of(std::uint64_t number) const {
  for (const RefusalNote& refusal : refusals) {
    if (auto text = refusal.load_of(number)) return text;
  }
  return std::nullopt;
}

}  // namespace cohort::cuda
