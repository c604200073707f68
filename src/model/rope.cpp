#include "model/rope.hpp"

#include <cmath>

#include "base/assert.hpp"
#include "model/element.hpp"

namespace cohort {

Rope::Rope(std::uint32_t head_width, float base, std::size_t position_count)
    : half_(head_width / 2), position_count_(position_count) {
  cosines_.resize(position_count * half_);
  sines_.resize(position_count * half_);
  for (std::size_t i = 0; i < half_; ++i) {
    // Frequency and angle are rounded to f32 where the models' own training code does: late
    // positions would turn by visibly other angles without it.
    const double exponent = static_cast<double>(2 * i) / static_cast<double>(head_width);
    const float frequency =
        1.0f / static_cast<float>(std::pow(static_cast<double>(base), exponent));
    for (std::size_t position = 0; position < position_count; ++position) {
      const float angle = static_cast<float>(position) * frequency;
      cosines_[position * half_ + i] = std::cos(angle);
      sines_[position * half_ + i] = std::sin(angle);
    }
  }
}

template <typename T>
void Rope::rotate(T* heads, std::size_t head_count, std::size_t position) const {
  COHORT_DASSERT(position < position_count_, "position beyond the table");
  const float* cosine = cosines_.data() + position * half_;
  const float* sine = sines_.data() + position * half_;
  for (std::size_t head = 0; head < head_count; ++head) {
    T* low = heads + head * 2 * half_;
    T* high = low + half_;
    for (std::size_t i = 0; i < half_; ++i) {
      const float a = to_f32(low[i]);
      const float b = to_f32(high[i]);
      low[i] = from_f32<T>(a * cosine[i] - b * sine[i]);
      high[i] = from_f32<T>(b * cosine[i] + a * sine[i]);
    }
  }
}

template void Rope::rotate<float>(float*, std::size_t, std::size_t) const;
template void Rope::rotate<Bf16>(Bf16*, std::size_t, std::size_t) const;

}  // namespace cohort
