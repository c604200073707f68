#pragma once

namespace cohort {

/// Whether calls carry and compare headers, waits have deadlines and verdicts are booked. False
/// only in builds that measure what this costs (COHORT_UNCHECKED): they keep none of the promises.
#if defined(COHORT_UNCHECKED)
inline constexpr bool kChecked = false;
#else
inline constexpr bool kChecked = true;
#endif

}  // namespace cohort
