// A plugin that a whole job can run on without a GPU: fake devices and kernels behind the real
// symbol.

#include "support/fake_cuda.hpp"

extern "C" __attribute__((visibility("default"))) const cohort::cuda::Api* cohort_cuda_plugin(
    std::uint32_t abi_version) {
  return abi_version == cohort::cuda::kAbiVersion ? &cohort::test::fake_cuda_api() : nullptr;
}
