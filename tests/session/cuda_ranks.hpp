#pragma once

// What tests of sessions in GPU memory share, over the fake of tests/support.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cohort/cohort.hpp>

#include "support/error_of.hpp"
#include "support/over_fake.hpp"
#include "support/ranks.hpp"

namespace cohort::test {

inline constexpr std::size_t kElements = 4096;

/// A slot of tp that can be leased, and one of world.
inline Plan plan_of(std::uint32_t tp, PlanOptions options = {}) {
  options.memory = Memory::cuda;
  Plan plan(Layout{{.tp = tp}}, options);
  static_cast<void>(plan.slot("x", {.groups = {GroupKind::tp},
                                    .rows_max = kElements,
                                    .row_elements = 1,
                                    .depth = 2,
                                    .leases = 1}));
  static_cast<void>(
      plan.slot("world", {.groups = {GroupKind::world}, .rows_max = kElements, .row_elements = 1}));
  return plan;
}

/// Of every rank the same, with all of these words.
inline void expect_all(const std::vector<RankResult>& results, ErrorCode code,
                       const std::vector<std::string>& parts) {
  for (std::size_t rank = 0; rank < results.size(); ++rank) {
    ASSERT_TRUE(results[rank].error) << "rank " << rank;
    EXPECT_EQ(results[rank].error->code(), code) << results[rank].error->what();
    for (const std::string& part : parts) {
      EXPECT_THAT(results[rank].error->what(), testing::HasSubstr(part)) << "rank " << rank;
    }
  }
}

/// One all_reduce of ones on tp in slot 0, which must give the group's size.
inline Verdict sum_of_ones(Session& session, std::size_t elements = 1000) {
  const Group tp = session.group(GroupKind::tp);
  const Buffer buffer = session.take(SlotId{0});
  auto* const data = buffer.as<float>();
  std::fill_n(data, elements, 1.0F);
  const Verdict verdict = tp.all_reduce(buffer.elements(elements), ReduceOp::sum);
  session.wait({});
  const auto wanted = static_cast<float>(tp.size());
  EXPECT_EQ(std::count(data, data + elements, wanted), static_cast<std::ptrdiff_t>(elements));
  return verdict;
}

inline void sum_ones(Session& session, std::size_t elements = 100) {
  static_cast<void>(sum_of_ones(session, elements));
}

inline WaitLimits short_steady_limit() {
  WaitLimits limits = patient_limits();
  limits.steady = std::chrono::milliseconds(300);
  return limits;
}

}  // namespace cohort::test
