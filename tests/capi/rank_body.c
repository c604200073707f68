#include "rank_body.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rank_health.h"

enum { kRanksMax = 16, kRows = 8, kWidth = 4 };

/* Ends the function with 1 unless the condition holds. */
#define EXPECT(condition)                                                                     \
  do {                                                                                        \
    if (!(condition)) {                                                                       \
      fprintf(stderr, "%s:%d: expected %s; last error: %s\n", __FILE__, __LINE__, #condition, \
              cohort_last_error_message());                                                   \
      return 1;                                                                               \
    }                                                                                         \
  } while (0)
#define EXPECT_OK(call) EXPECT((call) == COHORT_OK)
/* For functions that return such a 1 themselves. */
#define RUN(call)              \
  do {                         \
    if ((call) != 0) return 1; \
  } while (0)

/* One rank's view of the job. */
struct job {
  cohort_session session;
  uint32_t rank;
  uint32_t size;
  uint32_t rows;  /* slot of f32, for world and tp */
  uint32_t pairs; /* slot of i32, for attn_cp */
  uint32_t pool;  /* of two blocks, for tp */
};

enum { kBlockBytes = 512 };

cohort_wait_limits test_limits(void) {
  const char* const scale = getenv("COHORT_DEADLINE_SCALE");
  return (cohort_wait_limits){.size = sizeof(cohort_wait_limits),
                              .setup_ms = 60000,
                              .steady_ms = 60000,
                              .scale = scale == NULL ? 1.0 : strtod(scale, NULL)};
}

static int declare(uint32_t size, cohort_plan* plan, struct job* job) {
  cohort_layout layout = NULL;
  EXPECT_OK(cohort_layout_create(
      &(cohort_layout_sizes){.size = sizeof(cohort_layout_sizes), .tp = size, .attn_cp = size},
      &layout));
  uint32_t world_size = 0;
  EXPECT_OK(cohort_layout_world_size(layout, &world_size));
  EXPECT(world_size == size);
  uint32_t ranks[kRanksMax] = {0};
  size_t count = 0;
  EXPECT_OK(cohort_layout_group(layout, COHORT_GROUP_TP, size - 1, ranks, kRanksMax, &count));
  EXPECT(count == size && ranks[size - 1] == size - 1);

  EXPECT_OK(cohort_plan_create(layout, NULL, plan));
  EXPECT_OK(cohort_layout_free(layout));
  const cohort_slot_spec rows = {
      .size = sizeof(cohort_slot_spec),
      .groups = COHORT_GROUP_BIT(COHORT_GROUP_WORLD) | COHORT_GROUP_BIT(COHORT_GROUP_TP),
      .dtype = COHORT_DTYPE_F32,
      .rows_max = (size_t)kRows * size,
      .row_elements = kWidth,
      .depth = 2};
  EXPECT_OK(cohort_plan_slot(*plan, "rows", &rows, &job->rows));
  const cohort_slot_spec pairs = {.size = sizeof(cohort_slot_spec),
                                  .groups = COHORT_GROUP_BIT(COHORT_GROUP_ATTN_CP),
                                  .dtype = COHORT_DTYPE_I32,
                                  .rows_max = (size_t)kRows * size,
                                  .row_elements = kWidth,
                                  .leases = 1};
  EXPECT_OK(cohort_plan_slot(*plan, "pairs", &pairs, &job->pairs));
  EXPECT(job->rows == 0 && job->pairs == 1);
  const cohort_pool_spec pool = {.size = sizeof pool,
                                 .bytes = 2 * kBlockBytes,
                                 .block_bytes_max = kBlockBytes,
                                 .groups = COHORT_GROUP_BIT(COHORT_GROUP_TP)};
  EXPECT_OK(cohort_plan_pool(*plan, "blocks", &pool, &job->pool));
  EXPECT_OK(cohort_plan_send_recv(*plan, COHORT_GROUP_ATTN_CP, 0));
  EXPECT(cohort_plan_send_recv(*plan, COHORT_GROUP_ATTN_CP, 0) == COHORT_ERROR_USAGE);
  return 0;
}

static int check_footprint(cohort_plan plan, const struct job* job) {
  cohort_footprint bytes = {.size = sizeof bytes};
  EXPECT_OK(cohort_plan_footprint(plan, &bytes));
  const size_t planned = bytes.arena_bytes + (job->rank == 0 ? bytes.control_bytes : 0);
  size_t measured = 0;
  EXPECT_OK(cohort_measured_bytes(job->session, &measured));
  EXPECT(measured <= planned + bytes.granule_bytes && planned <= measured + bytes.granule_bytes);
  size_t length = 0;
  EXPECT_OK(cohort_plan_describe(plan, NULL, 0, &length));
  char text[8] = "";
  size_t same_length = 0;
  EXPECT_OK(cohort_plan_describe(plan, text, sizeof text, &same_length));
  EXPECT(length > sizeof text && same_length == length && strlen(text) == sizeof text - 1);
  return 0;
}

static int check_groups(const struct job* job) {
  uint32_t number = 99;
  EXPECT_OK(cohort_group_size(job->session, COHORT_GROUP_TP, &number));
  EXPECT(number == job->size);
  EXPECT_OK(cohort_group_rank(job->session, COHORT_GROUP_TP, &number));
  EXPECT(number == job->rank);
  uint32_t ranks[kRanksMax] = {0};
  size_t count = 0;
  EXPECT_OK(cohort_group_ranks(job->session, COHORT_GROUP_ATTN_CP, ranks, kRanksMax, &count));
  EXPECT(count == job->size);
  for (uint32_t i = 0; i < job->size; ++i) EXPECT(ranks[i] == i);
  /* No slot names it. */
  EXPECT(cohort_group_size(job->session, COHORT_GROUP_PP, &number) == COHORT_ERROR_USAGE);
  return 0;
}

static int check_reductions(const struct job* job) {
  cohort_buffer buffer = {.size = sizeof buffer};
  EXPECT_OK(cohort_take(job->session, job->rows, &buffer));
  EXPECT(buffer.dtype == COHORT_DTYPE_F32 && buffer.row_elements == kWidth);
  const size_t elements = (size_t)kRows * kWidth;
  float* const values = buffer.data;
  for (size_t i = 0; i < elements; ++i) values[i] = (float)(job->rank + 1);
  cohort_verdict verdict = {.size = sizeof verdict};
  EXPECT_OK(cohort_all_reduce(job->session,
                              &(cohort_call){.size = sizeof(cohort_call),
                                             .group = COHORT_GROUP_TP,
                                             .dtype = COHORT_DTYPE_F32,
                                             .input = values,
                                             .input_elements = elements,
                                             .output = values,
                                             .output_elements = elements,
                                             .reduce_op = COHORT_REDUCE_SUM},
                              &verdict));
  const float sum = (float)(job->size * (job->size + 1)) / 2;
  for (size_t i = 0; i < elements; ++i) EXPECT(values[i] == sum);
  EXPECT(verdict.copied_bytes == 0);
  EXPECT(verdict.reason == (job->size == 1 ? COHORT_REASON_GROUP_SIZE_ONE : COHORT_REASON_OK));
  cohort_verdict told = {.size = sizeof told};
  EXPECT_OK(cohort_explain(job->session, COHORT_GROUP_TP, COHORT_OP_ALL_REDUCE, COHORT_DTYPE_F32,
                           elements * sizeof(float), &told));
  EXPECT(told.path == verdict.path && told.reason == verdict.reason);

  /* Part i of the sum to member i; then with all of it for the last member. */
  cohort_call scatter = {.size = sizeof scatter,
                         .group = COHORT_GROUP_WORLD,
                         .dtype = COHORT_DTYPE_F32,
                         .input = values,
                         .input_elements = elements * job->size,
                         .output_elements = elements,
                         .reduce_op = COHORT_REDUCE_MAX};
  float part[kRows * kWidth];
  scatter.output = part;
  EXPECT_OK(cohort_take(job->session, job->rows, &buffer));
  float* const inputs = buffer.data;
  for (size_t i = 0; i < elements * job->size; ++i) inputs[i] = (float)(i + job->rank);
  scatter.input = inputs;
  EXPECT_OK(cohort_reduce_scatter(job->session, &scatter, NULL));
  for (size_t i = 0; i < elements; ++i) {
    EXPECT(part[i] == (float)(elements * job->rank + i + job->size - 1));
  }
  size_t counts[kRanksMax] = {0};
  counts[job->size - 1] = elements;
  scatter.input_elements = elements;
  scatter.output_elements = counts[job->rank];
  scatter.counts = counts;
  scatter.counts_length = job->size;
  EXPECT_OK(cohort_reduce_scatterv(job->session, &scatter, &verdict));
  if (job->rank == job->size - 1) EXPECT(part[5] == (float)(5 + job->size - 1));
  return 0;
}

static int check_gathers(const struct job* job) {
  cohort_buffer buffer = {.size = sizeof buffer};
  EXPECT_OK(cohort_take(job->session, job->pairs, &buffer));
  int32_t* const all = buffer.data;
  const int32_t mine[2] = {(int32_t)job->rank, -(int32_t)job->rank};
  cohort_call call = {.size = sizeof call,
                      .group = COHORT_GROUP_ATTN_CP,
                      .dtype = COHORT_DTYPE_I32,
                      .input = mine,
                      .input_elements = 2,
                      .output = all,
                      .output_elements = 2 * (size_t)job->size};
  cohort_verdict verdict = {.size = sizeof verdict};
  EXPECT_OK(cohort_all_gather(job->session, &call, &verdict));
  for (uint32_t i = 0; i < job->size; ++i) {
    EXPECT(all[2 * i] == (int32_t)i && all[2 * i + 1] == -(int32_t)i);
  }
  /* Member i gives i elements, so rank 0 none. */
  size_t counts[kRanksMax] = {0};
  size_t total = 0;
  int32_t ragged[kRanksMax];
  for (uint32_t i = 0; i < job->size; ++i) {
    counts[i] = i;
    total += i;
    ragged[i] = (int32_t)(100 + job->rank);
  }
  call.input = ragged;
  call.input_elements = counts[job->rank];
  call.output_elements = total;
  call.counts = counts;
  call.counts_length = job->size;
  EXPECT_OK(cohort_all_gatherv(job->session, &call, NULL));
  size_t place = 0;
  for (uint32_t i = 0; i < job->size; ++i) {
    for (uint32_t k = 0; k < i; ++k) EXPECT(all[place++] == (int32_t)(100 + i));
  }

  const uint32_t root = job->size - 1;
  int32_t word = job->rank == root ? 4711 : 0;
  EXPECT_OK(cohort_broadcast(job->session,
                             &(cohort_call){.size = sizeof(cohort_call),
                                            .group = COHORT_GROUP_ATTN_CP,
                                            .dtype = COHORT_DTYPE_I32,
                                            .output = &word,
                                            .output_elements = 1,
                                            .root = root},
                             NULL));
  EXPECT(word == 4711);
  EXPECT_OK(cohort_barrier(
      job->session, &(cohort_call){.size = sizeof(cohort_call), .group = COHORT_GROUP_ATTN_CP},
      NULL));
  return 0;
}

static int check_exchanges(const struct job* job) {
  /* Member i sends 100 * i + j to member j; then also, but only to those above it. */
  int32_t sent[kRanksMax];
  int32_t received[kRanksMax];
  size_t counts[kRanksMax * kRanksMax];
  for (uint32_t i = 0; i < job->size; ++i) {
    sent[i] = (int32_t)(100 * job->rank + i);
    for (uint32_t j = 0; j < job->size; ++j) counts[i * job->size + j] = j > i ? 1 : 0;
  }
  cohort_call call = {.size = sizeof call,
                      .group = COHORT_GROUP_ATTN_CP,
                      .dtype = COHORT_DTYPE_I32,
                      .input = sent,
                      .input_elements = job->size,
                      .output = received,
                      .output_elements = job->size};
  EXPECT_OK(cohort_all_to_all(job->session, &call, NULL));
  for (uint32_t i = 0; i < job->size; ++i) EXPECT(received[i] == (int32_t)(100 * i + job->rank));
  call.input = sent + job->rank + 1;
  call.input_elements = job->size - 1 - job->rank;
  call.output_elements = job->rank;
  call.counts = counts;
  call.counts_length = (size_t)job->size * job->size;
  memset(received, 0, sizeof received);
  EXPECT_OK(cohort_all_to_allv(job->session, &call, NULL));
  for (uint32_t i = 0; i < job->rank; ++i) EXPECT(received[i] == (int32_t)(100 * i + job->rank));
  return 0;
}

/* A ring: every member sends to the next and hears from the one before. */
static int check_messages(const struct job* job) {
  const uint32_t next = (job->rank + 1) % job->size;
  const uint32_t before = (job->rank + job->size - 1) % job->size;
  const int32_t mine = (int32_t)(7 * job->rank);
  int32_t theirs = -1;
  cohort_call call = {.size = sizeof call,
                      .group = COHORT_GROUP_ATTN_CP,
                      .dtype = COHORT_DTYPE_I32,
                      .input = &mine,
                      .input_elements = 1,
                      .output = &theirs,
                      .output_elements = 1,
                      .peer = next};
  if (job->size == 1) return 0;
  EXPECT_OK(cohort_send(job->session, &call, NULL));
  call.peer = before;
  cohort_verdict verdict = {.size = sizeof verdict};
  EXPECT_OK(cohort_recv(job->session, &call, &verdict));
  EXPECT(theirs == (int32_t)(7 * before) && verdict.path == COHORT_PATH_HOST_INLINE);
  return 0;
}

/* Sums a block of which every rank has written its number, and says how that went. */
static int sum_block(const struct job* job, const cohort_buffer* block, cohort_verdict* verdict) {
  int64_t* const values = block->data;
  const size_t elements = block->rows_max * block->row_elements;
  for (size_t i = 0; i < elements; ++i) values[i] = job->rank + 1;
  const cohort_call call = {.size = sizeof call,
                            .group = COHORT_GROUP_TP,
                            .dtype = COHORT_DTYPE_I64,
                            .input = values,
                            .input_elements = elements,
                            .output = values,
                            .output_elements = elements,
                            .reduce_op = COHORT_REDUCE_SUM};
  EXPECT_OK(cohort_all_reduce(job->session, &call, verdict));
  for (size_t i = 0; i < elements; ++i) EXPECT(values[i] == job->size * (job->size + 1) / 2);
  return 0;
}

/* The third block is over the budget of two: right all the same, and told. */
static int check_scopes(const struct job* job) {
  cohort_scope scope = NULL;
  EXPECT_OK(cohort_scope_open(job->session, COHORT_GROUP_TP, 0, &scope));
  cohort_verdict verdict = {.size = sizeof verdict};
  cohort_buffer blocks[3];
  for (int i = 0; i < 3; ++i) {
    blocks[i] = (cohort_buffer){.size = sizeof blocks[i]};
    EXPECT_OK(cohort_scope_allocate(scope, COHORT_DTYPE_I64, 8, 8, &blocks[i]));
    EXPECT(blocks[i].slot == COHORT_NO_SLOT && blocks[i].rows_max == 8);
    uint32_t symmetric = 99;
    EXPECT_OK(cohort_is_symmetric(job->session, blocks[i].data, kBlockBytes, COHORT_GROUP_TP,
                                  &symmetric));
    EXPECT(symmetric == (i < 2));
    RUN(sum_block(job, &blocks[i], &verdict));
    if (job->size > 1) {
      EXPECT(verdict.reason == (i < 2 ? COHORT_REASON_OK : COHORT_REASON_OVER_BUDGET));
    }
  }
  cohort_pool_use use = {.size = sizeof use};
  EXPECT_OK(cohort_pool_usage(job->session, job->pool, &use));
  EXPECT(use.live_blocks == 2 && use.over_budget_blocks == 1 && use.peak_bytes == use.bytes);
  /* Given back, there is room again. */
  EXPECT_OK(cohort_scope_release(scope, blocks[0].data));
  EXPECT(cohort_scope_release(scope, blocks[0].data) == COHORT_ERROR_USAGE);
  EXPECT_OK(cohort_scope_allocate(scope, COHORT_DTYPE_I64, 8, 8, &blocks[0]));
  RUN(sum_block(job, &blocks[0], &verdict));
  if (job->size > 1) EXPECT(verdict.reason == COHORT_REASON_OK);
  EXPECT_OK(cohort_scope_free(scope));
  EXPECT_OK(cohort_pool_usage(job->session, job->pool, &use));
  EXPECT(use.live_blocks == 0 && use.live_bytes == 0);
  EXPECT_OK(cohort_verify(job->session));
  EXPECT(cohort_scope_open(job->session, COHORT_GROUP_ATTN_CP, 0, &scope) == COHORT_ERROR_USAGE);
  return 0;
}

/* An entry that no take yields, held until it is freed. */
static int check_leases(const struct job* job) {
  for (int32_t turn = 1; turn <= 3; ++turn) {
    cohort_lease lease = NULL;
    cohort_lease second = NULL;
    cohort_buffer held = {.size = sizeof held};
    cohort_buffer taken = {.size = sizeof taken};
    EXPECT_OK(cohort_lease_take(job->session, job->pairs, &lease, &held));
    EXPECT(held.slot == job->pairs && held.rows_max == (size_t)kRows * job->size);
    EXPECT(cohort_lease_take(job->session, job->pairs, &second, &taken) == COHORT_ERROR_USAGE);
    EXPECT(second == NULL);
    EXPECT_OK(cohort_take(job->session, job->pairs, &taken));
    EXPECT(taken.data != held.data);
    int32_t* values = held.data;
    values[0] = turn;
    const cohort_call sum = {.size = sizeof sum,
                             .group = COHORT_GROUP_ATTN_CP,
                             .dtype = COHORT_DTYPE_I32,
                             .input = values,
                             .input_elements = 1,
                             .output = values,
                             .output_elements = 1,
                             .reduce_op = COHORT_REDUCE_SUM};
    EXPECT_OK(cohort_all_reduce(job->session, &sum, NULL));
    uint32_t members = 0;
    EXPECT_OK(cohort_group_size(job->session, COHORT_GROUP_ATTN_CP, &members));
    EXPECT(values[0] == turn * (int32_t)members);
    /* Host memory has no graphs; the lease is as it was. */
    EXPECT(cohort_lease_give_to_graph(job->session, lease, &turn) == COHORT_ERROR_USAGE);
    EXPECT_OK(cohort_lease_free(lease));
    EXPECT(cohort_lease_free(lease) == COHORT_ERROR_USAGE);
  }
  cohort_lease none = NULL;
  cohort_buffer buffer = {.size = sizeof buffer};
  EXPECT(cohort_lease_take(job->session, job->rows, &none, &buffer) == COHORT_ERROR_USAGE);
  return 0;
}

/* A slot of attn_cp used on tp: an error on every rank, after which the session goes on. */
static int check_refusal(const struct job* job) {
  cohort_buffer buffer = {.size = sizeof buffer};
  EXPECT_OK(cohort_take(job->session, job->pairs, &buffer));
  memset(buffer.data, 0, sizeof(int32_t));
  const cohort_call call = {.size = sizeof call,
                            .group = COHORT_GROUP_TP,
                            .dtype = COHORT_DTYPE_I32,
                            .input = buffer.data,
                            .input_elements = 1,
                            .output = buffer.data,
                            .output_elements = 1,
                            .reduce_op = COHORT_REDUCE_SUM};
  if (job->size > 1) {
    EXPECT(cohort_all_reduce(job->session, &call, NULL) == COHORT_ERROR_USAGE);
    cohort_error error = {.size = sizeof error};
    EXPECT_OK(cohort_last_error(&error));
    EXPECT(error.code == COHORT_ERROR_USAGE && strstr(error.message, "pairs") != NULL);
    EXPECT(strcmp(error.message, cohort_last_error_message()) == 0);
    EXPECT(strcmp(error.phase, "all_reduce") == 0);
  }
  return check_reductions(job);
}

static int check_ledger(const struct job* job) {
  cohort_ledger ledger = NULL;
  EXPECT_OK(cohort_ledger_read(job->session, &ledger));
  size_t rows = 0;
  EXPECT_OK(cohort_ledger_size(ledger, &rows));
  uint64_t reductions = 0;
  for (size_t i = 0; i < rows; ++i) {
    cohort_ledger_row row = {.size = sizeof row};
    EXPECT_OK(cohort_ledger_get(ledger, i, &row));
    EXPECT(row.ranks_count == job->size && row.ranks[job->size - 1] == job->size - 1);
    EXPECT(row.calls > 0 && row.transfer_s >= 0 && row.wait_s >= 0);
    if (row.group == COHORT_GROUP_TP && row.op == COHORT_OP_ALL_REDUCE) reductions += row.calls;
  }
  EXPECT(reductions >= 2);
  cohort_ledger_row past = {.size = sizeof past};
  EXPECT(cohort_ledger_get(ledger, rows, &past) == COHORT_ERROR_USAGE);
  EXPECT_OK(cohort_ledger_free(ledger));
  EXPECT(cohort_ledger_size(ledger, &rows) == COHORT_ERROR_USAGE);
  return 0;
}

/* The same plan and one slot more: what was taken before stays where it was. */
static int check_recommit(const struct job* job, cohort_plan plan) {
  cohort_buffer before = {.size = sizeof before};
  EXPECT_OK(cohort_take(job->session, job->rows, &before));
  const cohort_slot_spec spec = {.size = sizeof spec,
                                 .groups = COHORT_GROUP_BIT(COHORT_GROUP_TP),
                                 .dtype = COHORT_DTYPE_I64,
                                 .rows_max = 1024,
                                 .row_elements = 8};
  uint32_t added = 0;
  EXPECT_OK(cohort_plan_slot(plan, "added", &spec, &added));
  cohort_footprint next = {.size = sizeof next};
  cohort_footprint now = {.size = sizeof now};
  EXPECT_OK(cohort_session_footprint(job->session, plan, &next));
  EXPECT_OK(cohort_recommit(job->session, plan, 0));
  EXPECT_OK(cohort_session_footprint(job->session, NULL, &now));
  EXPECT(now.arena_bytes == next.arena_bytes);
  cohort_buffer buffer = {.size = sizeof buffer};
  EXPECT_OK(cohort_take(job->session, added, &buffer));
  EXPECT(buffer.rows_max == 1024);
  EXPECT_OK(cohort_take(job->session, job->rows, &buffer)); /* the ring's other entry */
  EXPECT_OK(cohort_take(job->session, job->rows, &buffer));
  EXPECT(buffer.data == before.data && buffer.entry == before.entry);
  return check_reductions(job);
}

int run_rank(cohort_world world) {
  struct job job = {0};
  EXPECT_OK(cohort_world_rank(world, &job.rank));
  EXPECT_OK(cohort_world_size(world, &job.size));
  EXPECT(job.size <= kRanksMax);
  cohort_plan plan = NULL;
  RUN(declare(job.size, &plan, &job));
  EXPECT_OK(cohort_commit(world, plan, &job.session));
  RUN(check_footprint(plan, &job));
  RUN(check_groups(&job));
  RUN(check_reductions(&job));
  RUN(check_gathers(&job));
  RUN(check_exchanges(&job));
  RUN(check_messages(&job));
  RUN(check_scopes(&job));
  RUN(check_leases(&job));
  RUN(check_refusal(&job));
  RUN(check_health(world, job.session, COHORT_GROUP_ATTN_CP));
  RUN(check_recommit(&job, plan));
  EXPECT_OK(cohort_plan_free(plan));
  RUN(check_ledger(&job));
  uint64_t registrations = 1;
  EXPECT_OK(cohort_registrations_since_commit(job.session, &registrations));
  EXPECT(registrations == 0);
  EXPECT_OK(cohort_world_check(world, "testing"));
  /* The session keeps the world for as long as it needs it. */
  EXPECT_OK(cohort_world_free(world));
  EXPECT_OK(cohort_close(job.session, 0));
  EXPECT(cohort_close(job.session, 0) == COHORT_ERROR_USAGE);
  return 0;
}
