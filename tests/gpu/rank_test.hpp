#pragma once

// Tests over the kinds and numbers of ranks that share devices.

#include <cstdint>
#include <functional>
#include <string>
#include <tuple>

#include <gtest/gtest.h>

#include "gpu/rank_gpu.hpp"

namespace cohort::test {

using ModeAndRanks = std::tuple<RankMode, std::uint32_t>;

class RankTest : public testing::TestWithParam<ModeAndRanks> {
 protected:
  static void run(const std::function<void(World&, const cuda::Api&)>& body) {
    const auto [mode, ranks] = GetParam();
    run_gpu_ranks(mode, ranks, body);
  }
};

/// "threads2".
inline std::string name_of(const ModeAndRanks& param) {
  return to_string(std::get<0>(param)) + std::to_string(std::get<1>(param));
}

}  // namespace cohort::test
