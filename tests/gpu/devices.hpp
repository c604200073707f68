#pragma once

// Tests on GPUs begin by asking for some; without them they are skipped and say why.

#include <cstdint>
#include <string>

#include <gtest/gtest.h>

#include "backend/cuda/plugin_loader.hpp"

namespace cohort::cuda {

/// The plugin's table; null, with the reason, where fewer than `wanted` devices are.
inline const Api* find_devices(std::uint32_t wanted, std::string& missing) {
  const LoadedPlugin& plugin = loaded_plugin();
  if (plugin.api == nullptr) {
    missing = plugin.missing;
    return nullptr;
  }
  std::uint32_t count = 0;
  if (const Status status = plugin.api->device_count(&count); status.code != Status::Code::ok) {
    missing = status.text;
    return nullptr;
  }
  if (count >= wanted) return plugin.api;
  missing = std::to_string(wanted) + " GPUs wanted, " + std::to_string(count) + " there";
  return nullptr;
}

/// With `api` set for the test's body, unless it is skipped.
class GpuTest : public testing::Test {
 protected:
  void SetUp() override { want(1); }

  void want(std::uint32_t devices) {
    std::string missing;
    api_ = find_devices(devices, missing);
    if (api_ == nullptr) GTEST_SKIP() << missing;
  }

  const Api* api_ = nullptr;
};

}  // namespace cohort::cuda
