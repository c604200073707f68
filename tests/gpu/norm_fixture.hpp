#pragma once

// Operands of norms on devices, for tests that run them alone and behind collectives.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "base/bf16.hpp"
#include "base/f16.hpp"
#include "gpu/plugin_fixture.hpp"

namespace cohort::test {

using Bytes = std::vector<std::byte>;

inline constexpr float kNormEpsilon = 1e-5F;

inline float wide(std::uint16_t bits, DType dtype) {
  return dtype == DType::bf16 ? f32_from_bf16(bits) : f32_from_f16(bits);
}
inline std::uint16_t narrow(float value, DType dtype) {
  return dtype == DType::bf16 ? bf16_from_f32(value) : f16_from_f32(value);
}

template <typename Element>
Bytes as_bytes(const std::vector<Element>& elements) {
  Bytes bytes(elements.size() * sizeof(Element));
  if (!bytes.empty()) std::memcpy(bytes.data(), elements.data(), bytes.size());
  return bytes;
}
template <typename Element>
std::vector<Element> as_elements(const Bytes& bytes) {
  std::vector<Element> elements(bytes.size() / sizeof(Element));
  if (!bytes.empty()) std::memcpy(elements.data(), bytes.data(), bytes.size());
  return elements;
}

/// What goes into a norm of `rows` rows on one rank, and what comes out of it.
struct NormBuffers {
  NormBuffers(int device, DType type, std::uint32_t row, std::size_t row_count,
              cuda::NormOutput form)
      : dtype(type),
        hidden(row),
        rows(row_count),
        output(form),
        residual(device, rows * hidden * 2),
        weight(device, std::size_t{hidden} * 2),
        residual_out(device, rows * hidden * 2),
        normed(device, rows * hidden * (form == cuda::NormOutput::plain ? 2 : 1)),
        scales(device, std::max<std::size_t>(rows, 1) * 4) {
    poison();
  }
  void poison() {
    residual_out.poison();
    normed.poison();
    if (output != cuda::NormOutput::f8_by_scale) scales.poison();
  }
  cuda::Norm norm() const {
    cuda::Norm norm{};
    norm.dtype = dtype;
    norm.output = output;
    norm.hidden = hidden;
    norm.epsilon = kNormEpsilon;
    norm.residual = residual.address();
    norm.weight = weight.address();
    norm.residual_out = residual_out.address();
    norm.normed = normed.address();
    norm.scales = output == cuda::NormOutput::plain ? 0 : scales.address();
    return norm;
  }
  bool is_intact() const {
    return residual_out.is_intact() && normed.is_intact() && scales.is_intact();
  }

  DType dtype;
  std::uint32_t hidden;
  std::size_t rows;
  cuda::NormOutput output;
  Operand residual;
  Operand weight;
  Operand residual_out;
  Operand normed;
  Operand scales;
};

class NormTest : public PluginTest {
 protected:
  std::vector<std::uint16_t> random_row(std::size_t elements, DType dtype, float size = 1) {
    std::normal_distribution<float> normal(0, size);
    std::vector<std::uint16_t> row(elements);
    for (std::uint16_t& element : row) element = narrow(normal(random_), dtype);
    return row;
  }

  std::mt19937 random_{7};
};

}  // namespace cohort::test
