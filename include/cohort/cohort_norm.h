#ifndef COHORT_COHORT_NORM_H_
#define COHORT_COHORT_NORM_H_

/* Norms behind sums, of the C interface: cohort/rms_norm.hpp says what operands they take. */

#include <cohort/cohort.h>

#ifdef __cplusplus
extern "C" {
#endif

/* By rows: s = sum + residual, rounded to the type of the call, and
 * s / sqrt(mean(s * s) + epsilon) * weight. */
typedef struct cohort_rms_norm {
  size_t size;
  void* residual;      /* as many elements as the call's output; holds s afterwards */
  const void* weight;  /* one row */
  size_t row_elements; /* of one row, at least 1 */
  void* normed;        /* receives as many elements as the output */
  float epsilon;
  uint32_t reserved; /* 0 */
} cohort_rms_norm;

/* cohort_all_reduce in place, with the norm of every row of the sum. One kernel does both where
 * that is faster; what the call's output holds afterwards is then not said. */
COHORT_API int cohort_all_reduce_rms_norm(cohort_session session, const cohort_call* call,
                                          const cohort_rms_norm* norm, cohort_verdict* verdict);

#ifdef __cplusplus
}
#endif

#endif /* COHORT_COHORT_NORM_H_ */
