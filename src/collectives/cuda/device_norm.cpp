#include "collectives/cuda/device_norm.hpp"

#include "collectives/cuda/norm_shape.hpp"

namespace cohort::cuda {

namespace {

bool overlap(ConstTensor left, ConstTensor right) noexcept {
  const auto end_of = [](const ConstTensor& of) {
    return OpenDevice::host(of.data) + of.elements * bytes_of(of.dtype);
  };
  if (left.elements == 0 || right.elements == 0) return false;
  return OpenDevice::host(left.data) < end_of(right) && OpenDevice::host(right.data) < end_of(left);
}

}  // namespace

std::optional<std::string> find_device_fault(const RmsNorm& norm, ConstTensor input) {
  if (norm.weight.dtype == DType::f32) return "norms on a GPU are of bf16 or f16, not of f32";
  if (norm.weight.elements % kNormLineElements != 0) {
    return "rows of " + std::to_string(norm.weight.elements) +
           " elements cannot be normed on a GPU, only multiples of " +
           std::to_string(kNormLineElements);
  }
  struct Operand {
    const char* name;
    const void* data;
  };
  for (const Operand& operand :
       {Operand{"input", input.data}, Operand{"residual", norm.residual.data},
        Operand{"weight", norm.weight.data}, Operand{"result", norm.normed.data}}) {
    if (OpenDevice::host(operand.data) % kLineBytes != 0) {
      return std::string("the ") + operand.name + " of a norm is not aligned to " +
             std::to_string(kLineBytes) + " bytes";
    }
  }
  if (overlap(norm.residual, input) || overlap(norm.normed, input)) {
    return "residual or result of a norm overlap its input";
  }
  return std::nullopt;
}

Norm device_norm(const RmsNorm& norm) noexcept {
  const Address residual = OpenDevice::host(norm.residual.data);
  return {.dtype = norm.weight.dtype,
          .output = NormOutput::plain,
          .hidden = static_cast<std::uint32_t>(norm.weight.elements),
          .epsilon = norm.epsilon,
          .residual = residual,
          .weight = OpenDevice::host(norm.weight.data),
          .residual_out = residual,
          .normed = OpenDevice::host(norm.normed.data),
          .scales = 0};
}

void norm_on_device(const OpenDevice& device, const RmsNorm& norm, const void* input,
                    StreamHandle stream) {
  const std::uint64_t rows = norm.residual.elements / norm.weight.elements;
  if (rows != 0) device.launch_norm(device_norm(norm), OpenDevice::host(input), rows, stream);
}

}  // namespace cohort::cuda
