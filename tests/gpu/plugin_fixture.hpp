#pragma once

#include <string>

#include <gtest/gtest.h>

#include "gpu/device_group.hpp"

namespace cohort::test {

/// Tests that talk to the plugin's table themselves. Skipped, with the reason, where it cannot run.
class PluginTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string why_not;
    api_ = find_plugin(&why_not);
    if (api_ == nullptr) GTEST_SKIP() << why_not;
  }

  const cuda::Api* api_ = nullptr;
};

}  // namespace cohort::test
