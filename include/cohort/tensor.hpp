#pragma once

#include <cstddef>

#include <cohort/dtype.hpp>

namespace cohort {

/// Elements to read. Any memory; inside the arena the call copies nothing.
struct ConstTensor {
  const void* data = nullptr;
  std::size_t elements = 0;
  DType dtype = DType::f32;
};

/// Elements to write, or to update in place.
struct Tensor {
  void* data = nullptr;
  std::size_t elements = 0;
  DType dtype = DType::f32;
  operator ConstTensor() const noexcept { return {data, elements, dtype}; }
};

}  // namespace cohort
