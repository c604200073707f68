// Segments for PyTorch: which are freed while their owner goes on, and by whom.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cohort/cohort_torch.h>

namespace cohort {
namespace {

using testing::HasSubstr;

constexpr int kHost = -1;  // as a device
constexpr std::size_t kBudget = std::size_t{1} << 20U;

template <typename Struct>
Struct sized() {
  Struct made{};
  made.size = sizeof(Struct);
  return made;
}

std::string last_failure() {
  auto error = sized<cohort_error>();
  EXPECT_EQ(cohort_torch_last_error(&error), COHORT_OK);
  return error.message;
}

/// A committed session of one rank, with a pool for tp.
class OneRank {
 public:
  OneRank() {
    EXPECT_EQ(cohort_join_environment(nullptr, &world_), COHORT_OK);
    auto sizes = sized<cohort_layout_sizes>();
    sizes.tp = 1;
    EXPECT_EQ(cohort_layout_create(&sizes, &layout_), COHORT_OK);
    EXPECT_EQ(cohort_plan_create(layout_, nullptr, &plan_), COHORT_OK);
    auto spec = sized<cohort_pool_spec>();
    spec.bytes = spec.block_bytes_max = kBudget;
    spec.groups = COHORT_GROUP_BIT(COHORT_GROUP_TP);
    EXPECT_EQ(cohort_plan_pool(plan_, "tp", &spec, &pool_), COHORT_OK);
    EXPECT_EQ(cohort_commit(world_, plan_, &session_), COHORT_OK);
    EXPECT_EQ(cohort_torch_select(session_, COHORT_GROUP_TP), COHORT_OK);
  }
  ~OneRank() {
    EXPECT_EQ(cohort_torch_forget(session_), COHORT_OK) << last_failure();
    EXPECT_EQ(cohort_close(session_, 0), COHORT_OK);
    EXPECT_EQ(cohort_plan_free(plan_), COHORT_OK);
    EXPECT_EQ(cohort_layout_free(layout_), COHORT_OK);
    EXPECT_EQ(cohort_world_free(world_), COHORT_OK);
    EXPECT_EQ(cohort_torch_select(nullptr, 0), COHORT_OK);
  }
  OneRank(const OneRank&) = delete;
  OneRank& operator=(const OneRank&) = delete;

  cohort_session session() const { return session_; }
  std::uint64_t live_blocks() const {
    auto use = sized<cohort_pool_use>();
    EXPECT_EQ(cohort_pool_usage(session_, pool_, &use), COHORT_OK);
    return use.live_blocks;
  }

 private:
  cohort_world world_ = nullptr;
  cohort_layout layout_ = nullptr;
  cohort_plan plan_ = nullptr;
  cohort_session session_ = nullptr;
  std::uint32_t pool_ = 0;
};

void* allocate(std::size_t bytes) {
  return cohort_torch_malloc(static_cast<std::ptrdiff_t>(bytes), kHost, nullptr);
}

void free_all(const std::vector<void*>& segments) {
  for (void* const data : segments) cohort_torch_free(data, 0, kHost, nullptr);
}

/// What every owner does: others free the segments of one round during the next.
void churn(std::atomic<int>& missing) {
  OneRank rank;
  std::vector<void*> dying;
  for (int round = 0; round < 200; ++round) {
    std::thread other([dead = std::move(dying)] { free_all(dead); });
    dying.clear();
    for (std::size_t i = 0; i < 8; ++i) {
      void* const data = allocate(256 * (i + 1));
      if (data == nullptr) ++missing;
      dying.push_back(data);
    }
    if (round % 3 == 0) {
      EXPECT_EQ(cohort_torch_collect(rank.session()), COHORT_OK);
    }
    other.join();
  }
  free_all(dying);
  EXPECT_EQ(cohort_torch_collect(rank.session()), COHORT_OK);
  EXPECT_EQ(rank.live_blocks(), 0U);
}

TEST(TorchSegments, AreFreedByOtherThreadsWhileTheirOwnersGoOn) {
  std::atomic<int> missing = 0;
  std::thread one([&] { churn(missing); });
  std::thread two([&] { churn(missing); });
  one.join();
  two.join();
  EXPECT_EQ(missing, 0);
}

TEST(TorchSegments, AFreeIsANoteUntilItIsCollected) {
  OneRank rank;
  void* const first = allocate(1000);
  free_all({first, first, nullptr, &rank});  // the same twice, and what was never a segment
  EXPECT_EQ(rank.live_blocks(), 1U);
  auto use = sized<cohort_torch_use>();
  ASSERT_EQ(cohort_torch_usage(rank.session(), COHORT_GROUP_TP, &use), COHORT_OK);
  EXPECT_EQ(use.segments, 1U);
  EXPECT_EQ(use.freed_bytes, 1000U);
  ASSERT_EQ(cohort_torch_collect(rank.session()), COHORT_OK);
  EXPECT_EQ(rank.live_blocks(), 0U);
  EXPECT_EQ(allocate(1000), first);
  EXPECT_EQ(cohort_torch_forget(rank.session()), COHORT_ERROR_USAGE);
  EXPECT_THAT(last_failure(), HasSubstr("1 segments of 1000 bytes"));
  free_all({first});
}

TEST(TorchSegments, SayWhatIsMissing) {
  EXPECT_EQ(allocate(1), nullptr);
  EXPECT_THAT(last_failure(), HasSubstr("no group is selected"));
  OneRank rank;
  EXPECT_EQ(last_failure(), "");
  EXPECT_EQ(cohort_torch_malloc(-1, kHost, nullptr), nullptr);
  EXPECT_THAT(last_failure(), HasSubstr("negative"));
  ASSERT_EQ(cohort_torch_select(rank.session(), COHORT_GROUP_DCP), COHORT_OK);
  EXPECT_EQ(allocate(1), nullptr);
  EXPECT_THAT(last_failure(), HasSubstr("no pool of the plan serves group dcp"));
  EXPECT_EQ(cohort_torch_usage(rank.session(), 0, nullptr), COHORT_ERROR_USAGE);
  EXPECT_EQ(cohort_torch_last_error(nullptr), COHORT_ERROR_USAGE);
}

}  // namespace
}  // namespace cohort
