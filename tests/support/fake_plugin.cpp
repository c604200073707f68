// A plugin for tests of what loads it: the fake devices behind the real symbol.

#include "support/fake_cuda_memory.hpp"

extern "C" __attribute__((visibility("default"))) const cohort::cuda::Api* cohort_cuda_plugin(
    std::uint32_t abi_version) {
  static const cohort::cuda::Api api = [] {
    cohort::cuda::Api made = {};
    cohort::test::set_memory_functions(made);
    return made;
  }();
  const bool is_old = COHORT_FAKE_PLUGIN_IS_OLD != 0;
  return !is_old && abi_version == cohort::cuda::kAbiVersion ? &api : nullptr;
}
