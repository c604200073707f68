#ifndef COHORT_TESTS_CAPI_RANK_BODY_H_
#define COHORT_TESTS_CAPI_RANK_BODY_H_

#include <cohort/cohort.h>

/* What every rank of the tests does, whether it is a thread or a process: a whole job over the C
 * interface. Returns 0, or 1 after saying on standard error what was wrong. Closes the session and
 * leaves the world. */
int run_rank(cohort_world world);

/* Times that a loaded machine keeps, stretched by COHORT_DEADLINE_SCALE. */
cohort_wait_limits test_limits(void);

#endif
