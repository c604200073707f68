#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace cohort {

/// Rotary position embedding in half-split form: element i of a head turns with element
/// i + head_width / 2 by position / base^(2 i / head_width). Immutable after construction.
class Rope {
 public:
  /// Cost: position_count x head_width floats.
  Rope(std::uint32_t head_width, float base, std::size_t position_count);

  std::size_t position_count() const noexcept { return position_count_; }

  /// Turns `head_count` heads that follow one another, in place; T is float or Bf16.
  /// Requires: position < position_count(). Local.
  template <typename T>
  void rotate(T* heads, std::size_t head_count, std::size_t position) const;

 private:
  std::size_t half_;
  std::size_t position_count_;
  std::vector<float> cosines_;  // (position_count, half)
  std::vector<float> sines_;    // (position_count, half)
};

}  // namespace cohort
