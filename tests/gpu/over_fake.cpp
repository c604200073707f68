// Sessions of this process are over the fake, in ranks that are processes as well.

#include "gpu/rank_gpu.hpp"
#include "session/device_api.hpp"
#include "support/fake_cuda.hpp"

namespace cohort::test {

namespace {

const bool over_fake = [] {
  set_device_api(&fake_cuda_api());
  return true;
}();

}  // namespace

bool is_over_fake() noexcept {
  return over_fake;
}

/// Devices of the fake have their memory in common.
std::uint64_t free_device_bytes(std::uint32_t /*device*/) {
  return fake_cuda().memory_bytes.load() -
         static_cast<std::uint64_t>(fake_cuda().taken_bytes.load());
}

}  // namespace cohort::test
