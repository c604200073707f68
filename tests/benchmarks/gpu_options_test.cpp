#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "options.hpp"

namespace cohort::gpu_bench {
namespace {

Options parse(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "cohort_gpu_bench");
  std::vector<char*> pointers;
  for (std::string& argument : arguments) pointers.push_back(argument.data());
  return parse_options(static_cast<int>(pointers.size()), pointers.data());
}

TEST(GpuOptions, RowsOfStepsGoByPowersOfTwo) {
  const Options options =
      parse({"--operations", "layer_step,layer_step_tp", "--bytes", "1..8", "--buffers", "warm"});
  EXPECT_EQ(options.operations,
            (std::vector<Operation>{Operation::layer_step, Operation::layer_step_tp}));
  EXPECT_EQ(options.sizes, (std::vector<std::uint64_t>{1, 2, 4, 8}));
  EXPECT_EQ(options.rotating, std::vector<bool>{false});
}

TEST(GpuOptions, WithoutSizesAllOfThemAreMeasured) {
  const Options options = parse({});
  EXPECT_EQ(options.sizes.front(), 1024U);
  EXPECT_EQ(options.sizes.back(), std::uint64_t{128} << 20);
}

TEST(GpuOptions, WhatIsWrongIsNamedByItsFlag) {
  const std::vector<std::vector<std::string>> wrong{{"--operations", "layers"},
                                                    {"--bytes", "0"},
                                                    {"--dtypes", "i32"},
                                                    {"--rounds"},
                                                    {"--steps", "3"}};
  for (const std::vector<std::string>& arguments : wrong) {
    try {
      parse(arguments);
      ADD_FAILURE() << arguments.front() << " was taken";
    } catch (const std::runtime_error& error) {
      EXPECT_EQ(std::string(error.what()).rfind(arguments.front(), 0), 0U) << error.what();
    }
  }
}

}  // namespace
}  // namespace cohort::gpu_bench
