// What a caller in another language gets wrong, and no compiler tells: every mistake is an error
// with a message, none is a crash.

#include <bit>
#include <cstdint>
#include <string>
#include <tuple>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cohort/cohort.h>
#include <cohort/cohort_norm.h>
#include <cohort/error.hpp>
#include <cohort/layout.hpp>
#include <cohort/verdict.hpp>

#include "capi/handles.hpp"
#include "capi/numbers.hpp"

namespace cohort {
namespace {

using testing::HasSubstr;
using testing::StrEq;

template <typename Struct>
Struct sized() {
  Struct value{};
  value.size = sizeof(Struct);
  return value;
}

cohort_error last_error() {
  auto error = sized<cohort_error>();
  EXPECT_EQ(cohort_last_error(&error), COHORT_OK);
  return error;
}

void expect_usage(int status, const std::string& message) {
  EXPECT_EQ(status, COHORT_ERROR_USAGE) << message;
  EXPECT_THAT(cohort_last_error_message(), HasSubstr(message));
  EXPECT_EQ(last_error().code, COHORT_ERROR_USAGE);
}

cohort_layout make_layout(std::uint32_t tp) {
  auto sizes = sized<cohort_layout_sizes>();
  sizes.tp = tp;
  cohort_layout layout = nullptr;
  EXPECT_EQ(cohort_layout_create(&sizes, &layout), COHORT_OK);
  return layout;
}

cohort_slot_spec one_row() {
  auto spec = sized<cohort_slot_spec>();
  spec.groups = COHORT_GROUP_BIT(COHORT_GROUP_TP);
  spec.dtype = COHORT_DTYPE_F32;
  spec.rows_max = 1;
  spec.row_elements = 8;
  return spec;
}

/// A session of one rank.
class CApi : public testing::Test {
 protected:
  void SetUp() override {
    layout_ = make_layout(1);
    ASSERT_EQ(cohort_plan_create(layout_, nullptr, &plan_), COHORT_OK);
    const cohort_slot_spec spec = one_row();
    std::uint32_t slot = 99;
    ASSERT_EQ(cohort_plan_slot(plan_, "rows", &spec, &slot), COHORT_OK);
    ASSERT_EQ(cohort_join_environment(nullptr, &world_), COHORT_OK);
    ASSERT_EQ(cohort_commit(world_, plan_, &session_), COHORT_OK);
  }
  void TearDown() override {
    EXPECT_EQ(cohort_close(session_, 0), COHORT_OK);
    EXPECT_EQ(cohort_world_free(world_), COHORT_OK);
    EXPECT_EQ(cohort_plan_free(plan_), COHORT_OK);
    EXPECT_EQ(cohort_layout_free(layout_), COHORT_OK);
  }
  cohort_layout layout_ = nullptr;
  cohort_plan plan_ = nullptr;
  cohort_world world_ = nullptr;
  cohort_session session_ = nullptr;
};

TEST(CApiErrors, AreToldPerThreadAndSurviveASuccess) {
  expect_usage(cohort_layout_create(nullptr, nullptr), "sizes is null");
  const cohort_layout layout = make_layout(2);
  EXPECT_THAT(cohort_last_error_message(), StrEq("sizes is null"));
  EXPECT_EQ(last_error().rank, -1);
  EXPECT_THAT(last_error().phase, StrEq(""));
  EXPECT_EQ(cohort_layout_free(layout), COHORT_OK);
  expect_usage(cohort_last_error(nullptr), "error is null");
}

TEST_F(CApi, RefusesNullWhereverSomethingIsNeeded) {
  std::uint32_t number = 0;
  std::size_t size = 0;
  std::uint64_t count = 0;
  const auto call = sized<cohort_call>();
  expect_usage(cohort_layout_world_size(layout_, nullptr), "world_size is null");
  expect_usage(cohort_layout_group(layout_, COHORT_GROUP_TP, 0, nullptr, 1, &size),
               "ranks is null");
  expect_usage(cohort_layout_group(layout_, COHORT_GROUP_TP, 0, nullptr, 0, nullptr),
               "count is null");
  expect_usage(cohort_plan_create(layout_, nullptr, nullptr), "plan is null");
  expect_usage(cohort_plan_slot(plan_, nullptr, nullptr, &number), "name is null");
  expect_usage(cohort_plan_slot(plan_, "x", nullptr, &number), "spec is null");
  const cohort_slot_spec spec = one_row();
  expect_usage(cohort_plan_slot(plan_, "x", &spec, nullptr), "slot is null");
  expect_usage(cohort_plan_footprint(plan_, nullptr), "footprint is null");
  expect_usage(cohort_plan_describe(plan_, nullptr, 1, &size), "text is null");
  expect_usage(cohort_plan_describe(plan_, nullptr, 0, nullptr), "length is null");
  expect_usage(cohort_join_environment(nullptr, nullptr), "world is null");
  expect_usage(cohort_join_callback(0, 1, nullptr, nullptr, nullptr, &world_),
               "all_gather is null");
  expect_usage(cohort_gathered_set(nullptr, 0, nullptr, 0), "gathered is null");
  expect_usage(cohort_world_rank(world_, nullptr), "rank is null");
  expect_usage(cohort_world_size(world_, nullptr), "size is null");
  expect_usage(cohort_world_fail(world_, COHORT_ERROR_SYSTEM, nullptr), "message is null");
  expect_usage(cohort_commit(world_, plan_, nullptr), "session is null");
  expect_usage(cohort_group_size(session_, COHORT_GROUP_TP, nullptr), "size is null");
  expect_usage(cohort_group_rank(session_, COHORT_GROUP_TP, nullptr), "rank is null");
  expect_usage(cohort_group_ranks(session_, COHORT_GROUP_TP, nullptr, 0, nullptr), "count is null");
  expect_usage(cohort_take(session_, 0, nullptr), "buffer is null");
  expect_usage(
      cohort_explain(session_, COHORT_GROUP_TP, COHORT_OP_BARRIER, COHORT_DTYPE_F32, 0, nullptr),
      "verdict is null");
  expect_usage(cohort_all_reduce(session_, nullptr, nullptr), "call is null");
  expect_usage(cohort_all_reduce_rms_norm(session_, nullptr, nullptr, nullptr), "call is null");
  expect_usage(cohort_registrations_since_commit(session_, nullptr), "count is null");
  expect_usage(cohort_measured_bytes(session_, nullptr), "bytes is null");
  expect_usage(cohort_scope_open(session_, COHORT_GROUP_TP, 0, nullptr), "scope is null");
  expect_usage(cohort_scope_allocate(nullptr, COHORT_DTYPE_F32, 1, 1, nullptr),
               "the scope is null");
  expect_usage(cohort_scope_release(nullptr, nullptr), "the scope is null");
  expect_usage(cohort_plan_pool(plan_, "x", nullptr, &number), "spec is null");
  expect_usage(cohort_pool_usage(session_, 0, nullptr), "pool");
  expect_usage(cohort_is_symmetric(session_, nullptr, 0, COHORT_GROUP_TP, nullptr),
               "symmetric is null");
  expect_usage(cohort_verify(nullptr), "the session is null");
  expect_usage(cohort_session_footprint(session_, nullptr, nullptr), "footprint is null");
  expect_usage(cohort_recommit(session_, nullptr, 0), "the plan is null");
  EXPECT_EQ(cohort_scope_free(nullptr), COHORT_OK);
  auto buffer = sized<cohort_buffer>();
  expect_usage(cohort_lease_take(session_, 0, nullptr, &buffer), "lease is null");
  expect_usage(cohort_lease_take(session_, 0, nullptr, nullptr), "buffer is null");
  expect_usage(cohort_lease_take(nullptr, 0, nullptr, nullptr), "the session is null");
  EXPECT_EQ(cohort_lease_free(nullptr), COHORT_OK);
  expect_usage(cohort_lease_give_to_graph(nullptr, nullptr, nullptr), "the session is null");
  expect_usage(cohort_lease_give_to_graph(session_, nullptr, nullptr), "the lease is null");
  expect_usage(cohort_ledger_read(session_, nullptr), "ledger is null");
  expect_usage(cohort_ledger_size(nullptr, &size), "the ledger is null");
  expect_usage(cohort_all_gather(nullptr, &call, nullptr), "the session is null");
  expect_usage(cohort_close(nullptr, 0), "the session is null");
  expect_usage(cohort_registrations_since_commit(nullptr, &count), "the session is null");
  EXPECT_EQ(cohort_layout_free(nullptr), COHORT_OK);
  EXPECT_EQ(cohort_plan_free(nullptr), COHORT_OK);
  EXPECT_EQ(cohort_world_free(nullptr), COHORT_OK);
  EXPECT_EQ(cohort_ledger_free(nullptr), COHORT_OK);
}

// Memory of a scope may be let go of in any order, and after the session.
TEST_F(CApi, RefusesStreamsOnHostMemory) {
  expect_usage(cohort_wait(nullptr, nullptr), "the session is null");
  expect_usage(cohort_wait(session_, nullptr), "take no stream");
  auto call = sized<cohort_call>();
  call.group = COHORT_GROUP_TP;
  call.stream = &call;
  expect_usage(cohort_barrier(session_, &call, nullptr), "take no stream");
  auto options = sized<cohort_commit_options>();
  options.reserved = 1;
  cohort_session other = nullptr;
  expect_usage(cohort_commit_with(world_, plan_, &options, &other), "options.reserved is not 0");
  EXPECT_EQ(other, nullptr);
}

TEST(CApiScopes, OutliveTheirSessionOnlyToBeFreed) {
  const cohort_layout layout = make_layout(1);
  cohort_plan plan = nullptr;
  ASSERT_EQ(cohort_plan_create(layout, nullptr, &plan), COHORT_OK);
  auto spec = sized<cohort_pool_spec>();
  spec.bytes = 4096;
  spec.block_bytes_max = 1024;
  spec.groups = COHORT_GROUP_BIT(COHORT_GROUP_TP);
  std::uint32_t pool = 99;
  ASSERT_EQ(cohort_plan_pool(plan, "blocks", &spec, &pool), COHORT_OK);
  cohort_world world = nullptr;
  ASSERT_EQ(cohort_join_environment(nullptr, &world), COHORT_OK);
  cohort_session session = nullptr;
  ASSERT_EQ(cohort_commit(world, plan, &session), COHORT_OK);
  cohort_scope scope = nullptr;
  expect_usage(cohort_scope_open(session, COHORT_GROUP_TP, 2, &scope),
               "symmetry_off is 2, not 0 or 1");
  ASSERT_EQ(cohort_scope_open(session, COHORT_GROUP_TP, 0, &scope), COHORT_OK);
  auto block = sized<cohort_buffer>();
  expect_usage(cohort_scope_allocate(scope, 0, 1, 1, &block), "0 is no dtype");
  ASSERT_EQ(cohort_scope_allocate(scope, COHORT_DTYPE_F32, 4, 4, &block), COHORT_OK);
  expect_usage(cohort_scope_release(scope, &block), "not that of a live block");
  EXPECT_EQ(cohort_close(session, 0), COHORT_OK);
  expect_usage(cohort_scope_allocate(scope, COHORT_DTYPE_F32, 4, 4, &block), "session is gone");
  EXPECT_EQ(cohort_scope_free(scope), COHORT_OK);
  expect_usage(cohort_scope_free(scope), "not a scope that is in use");
  EXPECT_EQ(cohort_world_free(world), COHORT_OK);
  EXPECT_EQ(cohort_plan_free(plan), COHORT_OK);
  EXPECT_EQ(cohort_layout_free(layout), COHORT_OK);
}

TEST_F(CApi, RefusesHandlesThatAreNone) {
  std::uint32_t number = 0;
  int some_memory = 0;
  for (const std::uintptr_t made_up :
       {reinterpret_cast<std::uintptr_t>(&some_memory), std::uintptr_t{1}, ~std::uintptr_t{0},
        reinterpret_cast<std::uintptr_t>(plan_), reinterpret_cast<std::uintptr_t>(layout_) + 0x100,
        std::uintptr_t{0x1'0000'ff01}, std::uintptr_t{0xffff'ff01}}) {
    expect_usage(cohort_layout_world_size(std::bit_cast<cohort_layout>(made_up), &number),
                 "not a layout that is in use");
    expect_usage(cohort_layout_free(std::bit_cast<cohort_layout>(made_up)),
                 "not a layout that is in use");
  }
  const cohort_layout freed = make_layout(2);
  ASSERT_EQ(cohort_layout_free(freed), COHORT_OK);
  expect_usage(cohort_layout_free(freed), "it was freed, or is something else");
  // The place is used again, the handle is not.
  const cohort_layout next = make_layout(3);
  EXPECT_NE(next, freed);
  expect_usage(cohort_layout_world_size(freed, &number), "not a layout that is in use");
  EXPECT_EQ(cohort_layout_world_size(next, &number), COHORT_OK);
  EXPECT_EQ(number, 3U);
  EXPECT_EQ(cohort_layout_free(next), COHORT_OK);
}

TEST_F(CApi, RefusesNumbersThatNameNothing) {
  std::uint32_t number = 0;
  std::size_t size = 0;
  expect_usage(cohort_layout_group(layout_, 0, 0, nullptr, 0, &size), "0 is no group kind");
  expect_usage(cohort_layout_group(layout_, COHORT_GROUP_TP, 7, nullptr, 0, &size),
               "rank 7 in a world of 1");
  expect_usage(cohort_group_size(session_, 32, &number), "32 is no group kind");
  auto spec = one_row();
  spec.groups = 0;
  expect_usage(cohort_plan_slot(plan_, "x", &spec, &number), "x");
  spec.groups = 1;
  expect_usage(cohort_plan_slot(plan_, "x", &spec, &number), "0 is no group kind");
  spec = one_row();
  spec.dtype = 0;
  expect_usage(cohort_plan_slot(plan_, "x", &spec, &number), "0 is no dtype");
  spec = one_row();
  spec.one_plus_stage = 2;
  expect_usage(cohort_plan_slot(plan_, "x", &spec, &number), "stage 1");
  auto call = sized<cohort_call>();
  expect_usage(cohort_barrier(session_, &call, nullptr), "0 is no group kind");
  call.group = COHORT_GROUP_TP;
  expect_usage(cohort_all_reduce(session_, &call, nullptr), "0 is no dtype");
  call.dtype = COHORT_DTYPE_F32;
  expect_usage(cohort_all_reduce(session_, &call, nullptr), "0 is no reduction");
  call.counts_length = 1;
  expect_usage(cohort_all_gatherv(session_, &call, nullptr), "call.counts is null");
  call.counts_length = 0;
  call.lane = 5;
  expect_usage(cohort_barrier(session_, &call, nullptr), "lane 5");
  call.lane = 0;
  int other = 0;
  call.input = &other;
  expect_usage(cohort_broadcast(session_, &call, nullptr), "call.input of a broadcast");
  auto buffer = sized<cohort_buffer>();
  expect_usage(cohort_take(session_, 7, &buffer), "slot 7 of a plan with 1 slots");
  expect_usage(cohort_world_fail(world_, 0, "text"), "0 is no error code");
  auto limits = sized<cohort_wait_limits>();
  limits.steady_ms = -1;
  cohort_world world = nullptr;
  expect_usage(cohort_join_environment(&limits, &world), "limits.steady_ms is -1");
  limits = sized<cohort_wait_limits>();
  limits.scale = -1;
  expect_usage(cohort_join_environment(&limits, &world), "limits.scale");
  EXPECT_EQ(world, nullptr);
}

TEST(CApiStructs, OfAnotherVersionKeepTheirMeaning) {
  // An older caller knows fewer fields; what it lacks is as if it were 0.
  struct Older {
    std::size_t size;
    std::uint32_t tp;
    std::uint32_t unrelated;
  } older{offsetof(cohort_layout_sizes, attn_dp), 2, 77};
  cohort_layout layout = nullptr;
  ASSERT_EQ(cohort_layout_create(reinterpret_cast<cohort_layout_sizes*>(&older), &layout),
            COHORT_OK);
  EXPECT_EQ(cohort_layout_free(layout), COHORT_OK);

  // A newer one may know more, as long as it does not use it.
  struct Newer {
    cohort_layout_sizes known;
    std::uint64_t added;
  } newer{{sizeof(Newer), 2, 0, 0, 0, 0, 0, 0, 0}, 0};
  ASSERT_EQ(cohort_layout_create(&newer.known, &layout), COHORT_OK);
  newer.added = 1;
  cohort_layout refused = nullptr;
  expect_usage(cohort_layout_create(&newer.known, &refused), "built for a later version");

  for (const std::size_t size : {std::size_t{0}, std::size_t{7}, ~std::size_t{0}}) {
    newer.known.size = size;
    expect_usage(cohort_layout_create(&newer.known, &refused), "set it to sizeof the struct");
  }
  EXPECT_EQ(refused, nullptr);

  auto options = sized<cohort_plan_options>();
  cohort_plan plan = nullptr;
  options.memory = 3;
  expect_usage(cohort_plan_create(layout, &options, &plan), "options.memory is 3, not 0 or 1");
  options = sized<cohort_plan_options>();
  options.nccl = 3;
  expect_usage(cohort_plan_create(layout, &options, &plan), "3 is no use of NCCL");
  options.nccl = COHORT_NCCL_GATHERS;
  expect_usage(cohort_plan_create(layout, &options, &plan), "memory host");
  options = sized<cohort_plan_options>();
  options.strict = 2;
  expect_usage(cohort_plan_create(layout, &options, &plan), "options.strict is 2, not 0 or 1");

  ASSERT_EQ(cohort_plan_create(layout, nullptr, &plan), COHORT_OK);
  struct NewerOut {
    cohort_footprint known;
    std::uint64_t added;
  } out{{sizeof(NewerOut), 0, 0, 0, 0, 0, 0}, ~std::uint64_t{0}};
  ASSERT_EQ(cohort_plan_footprint(plan, &out.known), COHORT_OK);
  EXPECT_GT(out.known.granule_bytes, 0U);
  EXPECT_EQ(out.added, 0U);
  out.known.size = offsetof(cohort_footprint, granule_bytes);
  out.known.granule_bytes = 42;
  ASSERT_EQ(cohort_plan_footprint(plan, &out.known), COHORT_OK);
  EXPECT_EQ(out.known.granule_bytes, 42U);
  EXPECT_EQ(cohort_plan_free(plan), COHORT_OK);
  EXPECT_EQ(cohort_layout_free(layout), COHORT_OK);
}

TEST(CApiHandles, ManyLiveAtOnce) {
  std::vector<cohort_layout> layouts(1000);
  for (auto& layout : layouts) layout = make_layout(1);
  for (std::size_t i = 0; i < layouts.size(); i += 2) {
    EXPECT_EQ(cohort_layout_free(layouts[i]), COHORT_OK);
  }
  std::uint32_t number = 0;
  for (std::size_t i = 0; i < layouts.size(); ++i) {
    EXPECT_EQ(cohort_layout_world_size(layouts[i], &number) == COHORT_OK, i % 2 == 1);
  }
  for (std::size_t i = 1; i < layouts.size(); i += 2) {
    EXPECT_EQ(cohort_layout_free(layouts[i]), COHORT_OK);
  }
}

// --- the caller's own all-gather --------------------------------------------------------------

int give_all(void*, const void* bytes, std::size_t count, std::int64_t timeout_ms,
             cohort_gathered* gathered) {
  EXPECT_GT(timeout_ms, 0);
  return cohort_gathered_set(gathered, 0, bytes, count);
}
int give_none(void*, const void*, std::size_t, std::int64_t, cohort_gathered*) {
  return COHORT_OK;
}
int give_other(void*, const void*, std::size_t, std::int64_t, cohort_gathered* gathered) {
  return cohort_gathered_set(gathered, 0, "other", 5);
}
int give_past(void*, const void*, std::size_t, std::int64_t, cohort_gathered* gathered) {
  return cohort_gathered_set(gathered, 1, "x", 1);
}
int return_context(void* context, const void*, std::size_t, std::int64_t, cohort_gathered*) {
  return *static_cast<int*>(context);
}

TEST(CApiCallback, MeetsOrSaysWhatTheFunctionDidWrong) {
  cohort_world world = nullptr;
  expect_usage(cohort_join_callback(1, 1, give_all, nullptr, nullptr, &world),
               "rank 1 in a world of 1");
  expect_usage(cohort_join_callback(0, 1, give_none, nullptr, nullptr, &world),
               "the all-gather function of rank 0 returned without the bytes of rank 0");
  expect_usage(cohort_join_callback(0, 1, give_other, nullptr, nullptr, &world),
               "other bytes for rank 0 than that rank gave");
  expect_usage(cohort_join_callback(0, 1, give_past, nullptr, nullptr, &world),
               "returned usage (1)");
  for (const auto& [status, code, text] :
       {std::tuple{static_cast<int>(COHORT_ERROR_TIMEOUT), static_cast<int>(COHORT_ERROR_TIMEOUT),
                   "returned timeout (6)"},
        std::tuple{-5, static_cast<int>(COHORT_ERROR_SYSTEM), "returned -5"}}) {
    int returned = status;
    EXPECT_EQ(cohort_join_callback(0, 1, return_context, &returned, nullptr, &world), code);
    EXPECT_THAT(cohort_last_error_message(), HasSubstr(text));
    EXPECT_THAT(last_error().phase, StrEq("join"));
    EXPECT_EQ(last_error().rank, 0);
  }
  EXPECT_EQ(world, nullptr);
  ASSERT_EQ(cohort_join_callback(0, 1, give_all, nullptr, nullptr, &world), COHORT_OK);
  EXPECT_EQ(cohort_world_free(world), COHORT_OK);
}

// --- numbers and names ------------------------------------------------------------------------

// Enumerators are spelled the same on both sides, and none is without a number.
template <typename Enum>
void expect_numbered(const char* (*name)(std::uint32_t)) {
  for (unsigned value = 0; value < 256; ++value) {
    const auto enumerator = static_cast<Enum>(value);
    if (to_string(enumerator) == "unknown") break;
    const std::uint32_t number = capi::number_of(enumerator);
    ASSERT_NE(number, capi::kNoNumber)
        << to_string(enumerator) << " has no number in cohort_names.h";
    EXPECT_EQ(name(number), to_string(enumerator));
  }
  EXPECT_THAT(name(4711), StrEq("unknown"));
}

TEST(CApiNumbers, CoverEveryEnumerator) {
  expect_numbered<GroupKind>(cohort_group_name);
  expect_numbered<DType>(cohort_dtype_name);
  expect_numbered<Op>(cohort_op_name);
  expect_numbered<Path>(cohort_path_name);
  expect_numbered<Reason>(cohort_reason_name);
  for (unsigned value = 0; value < 256; ++value) {
    const auto code = static_cast<ErrorCode>(value);
    if (to_string(code) == "unknown") break;
    EXPECT_EQ(cohort_error_name(capi::number_of(code)), to_string(code));
    EXPECT_EQ(capi::error_code_of(capi::number_of(code)), code);
  }
  EXPECT_THAT(cohort_error_name(COHORT_OK), StrEq("ok"));
  EXPECT_THAT(cohort_error_name(-1), StrEq("unknown"));
  EXPECT_THAT(cohort_reason_text(COHORT_REASON_DISABLED), HasSubstr("switched off"));
  for (const GroupKind kind : all_group_kinds()) {
    EXPECT_EQ(capi::group_kind_of(capi::number_of(kind)), kind);
  }
  for (const ReduceOp op : {ReduceOp::sum, ReduceOp::min, ReduceOp::max}) {
    EXPECT_EQ(capi::reduce_op_of(capi::number_of(op)), op);
  }
  EXPECT_EQ(cohort_abi_version(), COHORT_ABI_VERSION);
}

}  // namespace
}  // namespace cohort
