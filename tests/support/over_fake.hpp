#pragma once

#include "session/device_api.hpp"
#include "support/fake_cuda.hpp"

namespace cohort::test {

/// Every session of a test that includes this is over the fake GPUs, its ranks in processes of
/// their own as well.
inline const bool kOverFake = [] {
  set_device_api(&fake_cuda_api());
  return true;
}();

}  // namespace cohort::test
