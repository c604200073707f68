// Leases that CUDA graphs own, through the C interface, over the fake of tests/support.

#include <cstdint>
#include <functional>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cohort/cohort.h>

#include "session/device_api.hpp"
#include "support/fake_cuda.hpp"

namespace cohort {
namespace {

using test::FakeStream;

template <typename Struct>
Struct sized() {
  Struct value{};
  value.size = sizeof(Struct);
  return value;
}

/// A session of one rank with one lease.
class CApiGraph : public testing::Test {
 protected:
  void SetUp() override {
    set_device_api(&test::fake_cuda_api());
    auto sizes = sized<cohort_layout_sizes>();
    sizes.tp = 1;
    ASSERT_EQ(cohort_layout_create(&sizes, &layout_), COHORT_OK);
    auto options = sized<cohort_plan_options>();
    options.memory = COHORT_MEMORY_CUDA;
    ASSERT_EQ(cohort_plan_create(layout_, &options, &plan_), COHORT_OK);
    auto spec = sized<cohort_slot_spec>();
    spec.groups = COHORT_GROUP_BIT(COHORT_GROUP_TP);
    spec.dtype = COHORT_DTYPE_F32;
    spec.rows_max = 1;
    spec.row_elements = 8;
    spec.leases = 1;
    ASSERT_EQ(cohort_plan_slot(plan_, "rows", &spec, &slot_), COHORT_OK);
    ASSERT_EQ(cohort_join_environment(nullptr, &world_), COHORT_OK);
    ASSERT_EQ(cohort_commit(world_, plan_, &session_), COHORT_OK);
  }
  void TearDown() override {
    if (session_ != nullptr) {
      EXPECT_EQ(cohort_close(session_, 0), COHORT_OK);
    }
    EXPECT_EQ(cohort_world_free(world_), COHORT_OK);
    EXPECT_EQ(cohort_plan_free(plan_), COHORT_OK);
    EXPECT_EQ(cohort_layout_free(layout_), COHORT_OK);
    set_device_api(nullptr);
  }

  cohort_lease take() const {
    cohort_lease lease = nullptr;
    auto buffer = sized<cohort_buffer>();
    EXPECT_EQ(cohort_lease_take(session_, slot_, &lease, &buffer), COHORT_OK)
        << cohort_last_error_message();
    return lease;
  }

  cohort_layout layout_ = nullptr;
  cohort_plan plan_ = nullptr;
  cohort_world world_ = nullptr;
  cohort_session session_ = nullptr;
  std::uint32_t slot_ = 0;
};

TEST_F(CApiGraph, TakesOverTheLeaseAndItsHandle) {
  FakeStream stream;
  void* const handle = stream.handle().handle;
  cohort_lease lease = take();
  EXPECT_EQ(cohort_lease_give_to_graph(session_, lease, handle), COHORT_ERROR_USAGE);
  EXPECT_THAT(cohort_last_error_message(), testing::HasSubstr("not being captured"));
  stream.begin_capture();
  ASSERT_EQ(cohort_lease_give_to_graph(session_, lease, handle), COHORT_OK);
  EXPECT_EQ(cohort_lease_give_to_graph(session_, lease, handle), COHORT_ERROR_USAGE);
  EXPECT_EQ(cohort_lease_free(lease), COHORT_ERROR_USAGE);
  std::function<void()> graph = stream.end_capture();
  graph = nullptr;
  lease = take();
  EXPECT_EQ(cohort_lease_free(lease), COHORT_OK);
}

TEST_F(CApiGraph, MayGoAfterTheSession) {
  FakeStream stream;
  stream.begin_capture();
  ASSERT_EQ(cohort_lease_give_to_graph(session_, take(), stream.handle().handle), COHORT_OK);
  const std::function<void()> graph = stream.end_capture();
  EXPECT_EQ(cohort_close(std::exchange(session_, nullptr), 0), COHORT_OK);
}

}  // namespace
}  // namespace cohort
