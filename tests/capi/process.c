/* One rank as a process: what `cohort run` starts. Arguments: how many ranks there must be, and, if
 * given, the rank that gives up with an error of its own, which every other must then end with. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rank_body.h"

static const char* const kText = "the weights do not fit";

static int wait_for_failure(cohort_world world, uint32_t rank, uint32_t failing) {
  if (rank == failing) {
    if (cohort_world_fail(world, COHORT_ERROR_OUT_OF_MEMORY, kText) != COHORT_OK) return 1;
  }
  /* Commit is the next thing that all ranks do: it tells them. */
  cohort_layout layout = NULL;
  cohort_plan plan = NULL;
  cohort_session session = NULL;
  uint32_t size = 0;
  uint32_t slot = 0;
  const cohort_slot_spec spec = {.size = sizeof spec,
                                 .groups = COHORT_GROUP_BIT(COHORT_GROUP_TP),
                                 .dtype = COHORT_DTYPE_F32,
                                 .rows_max = 1,
                                 .row_elements = 1};
  if (cohort_world_size(world, &size) != COHORT_OK ||
      cohort_layout_create(&(cohort_layout_sizes){.size = sizeof(cohort_layout_sizes), .tp = size},
                           &layout) != COHORT_OK ||
      cohort_plan_create(layout, NULL, &plan) != COHORT_OK ||
      cohort_plan_slot(plan, "rows", &spec, &slot) != COHORT_OK) {
    return 1;
  }
  const int code = cohort_commit(world, plan, &session);
  cohort_error error = {.size = sizeof error};
  cohort_last_error(&error);
  if (code != COHORT_ERROR_OUT_OF_MEMORY || strstr(error.message, kText) == NULL ||
      error.rank != (int64_t)failing) {
    fprintf(stderr, "commit: code %d, rank %lld: %s\n", code, (long long)error.rank, error.message);
    return 1;
  }
  cohort_plan_free(plan);
  cohort_layout_free(layout);
  return cohort_world_free(world);
}

int main(int argc, char** argv) {
  const cohort_wait_limits limits = test_limits();
  cohort_world world = NULL;
  uint32_t rank = 0;
  uint32_t size = 0;
  if (cohort_join_environment(&limits, &world) != COHORT_OK ||
      cohort_world_rank(world, &rank) != COHORT_OK ||
      cohort_world_size(world, &size) != COHORT_OK) {
    fprintf(stderr, "join: %s\n", cohort_last_error_message());
    return 1;
  }
  if (argc < 2 || size != strtoul(argv[1], NULL, 10)) {
    fprintf(stderr, "a world of %u ranks\n", (unsigned)size);
    return 1;
  }
  return argc > 2 ? wait_for_failure(world, rank, (uint32_t)strtoul(argv[2], NULL, 10))
                  : run_rank(world);
}
