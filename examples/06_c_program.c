/* The C interface: one rank of a job, in plain C. cohort run -n 3 -- 06_c_program */

#include <stdio.h>
#include <stdlib.h>

#include <cohort/cohort.h>

/* Every function returns COHORT_OK or what went wrong; the text is kept for this thread. */
static void check(int status) {
  if (status == COHORT_OK) return;
  fprintf(stderr, "%s: %s\n", cohort_error_name(status), cohort_last_error_message());
  exit(1);
}

static void print_ledger(cohort_session session) {
  cohort_ledger ledger = NULL;
  size_t rows = 0;
  check(cohort_ledger_read(session, &ledger));
  check(cohort_ledger_size(ledger, &rows));
  for (size_t i = 0; i < rows; ++i) {
    cohort_ledger_row row = {.size = sizeof row};
    check(cohort_ledger_get(ledger, i, &row));
    printf("%s %s: %llu by %s, %s\n", cohort_group_name(row.group), cohort_op_name(row.op),
           (unsigned long long)row.calls, cohort_path_name(row.path),
           cohort_reason_name(row.reason));
  }
  check(cohort_ledger_free(ledger));
}

int main(void) {
  cohort_world world = NULL;
  uint32_t rank = 0;
  uint32_t size = 0;
  check(cohort_join_environment(NULL, &world));
  check(cohort_world_rank(world, &rank));
  check(cohort_world_size(world, &size));

  /* The same plan on every rank: one slot that group tp may use. */
  cohort_layout layout = NULL;
  cohort_plan plan = NULL;
  uint32_t slot = 0;
  const cohort_layout_sizes sizes = {.size = sizeof sizes, .tp = size};
  const cohort_slot_spec spec = {.size = sizeof spec,
                                 .groups = COHORT_GROUP_BIT(COHORT_GROUP_TP),
                                 .dtype = COHORT_DTYPE_F32,
                                 .rows_max = 4,
                                 .row_elements = 16};
  check(cohort_layout_create(&sizes, &layout));
  check(cohort_plan_create(layout, NULL, &plan));
  check(cohort_plan_slot(plan, "rows", &spec, &slot));

  cohort_session session = NULL;
  check(cohort_commit(world, plan, &session));
  cohort_buffer rows = {.size = sizeof rows};
  check(cohort_take(session, slot, &rows));
  float* const values = rows.data;
  for (int i = 0; i < 4 * 16; ++i) values[i] = (float)(rank + 1);
  const cohort_call call = {.size = sizeof call,
                            .group = COHORT_GROUP_TP,
                            .dtype = COHORT_DTYPE_F32,
                            .input = values,
                            .input_elements = 4 * 16,
                            .output = values, /* in place */
                            .output_elements = 4 * 16,
                            .reduce_op = COHORT_REDUCE_SUM};
  cohort_verdict verdict = {.size = sizeof verdict};
  check(cohort_all_reduce(session, &call, &verdict));
  if (rank == 0) {
    printf("the sum over %u ranks is %g, by %s: %s\n", (unsigned)size, (double)values[0],
           cohort_path_name(verdict.path), cohort_reason_text(verdict.reason));
    print_ledger(session);
  }

  check(cohort_close(session, 0));
  check(cohort_world_free(world));
  check(cohort_plan_free(plan));
  check(cohort_layout_free(layout));
  return 0;
}
