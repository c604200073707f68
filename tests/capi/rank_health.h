#ifndef COHORT_TESTS_CAPI_RANK_HEALTH_H_
#define COHORT_TESTS_CAPI_RANK_HEALTH_H_

#include <cohort/cohort.h>

/* Every rank but rank 0 is stuck in a barrier until another thread of its has seen that it is.
 * Collective over the world. Returns 0, or 1 after saying on standard error what was wrong. */
int check_health(cohort_world world, cohort_session session, uint32_t group);

#endif
