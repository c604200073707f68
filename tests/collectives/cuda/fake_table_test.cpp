#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include <gtest/gtest.h>

#include "support/fake_cuda.hpp"
#include "support/fake_nccl.hpp"

namespace cohort::test {
namespace {

/// A table is its version, padded to a word, then a word for each function.
template <typename Api>
std::ptrdiff_t missing_functions(const Api& api) {
  std::array<std::uintptr_t, sizeof(Api) / sizeof(std::uintptr_t)> words{};
  static_assert(sizeof words == sizeof(Api));
  std::memcpy(words.data(), &api, sizeof words);
  return std::count(words.begin() + 1, words.end(), std::uintptr_t{0});
}

TEST(FakeTables, HaveEveryFunction) {
  EXPECT_EQ(missing_functions(fake_cuda_api()), 0);
  EXPECT_EQ(missing_functions(fake_nccl()), 0);
}

}  // namespace
}  // namespace cohort::test
