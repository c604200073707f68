/* What C code of the pages may use without saying where it comes from. */
#pragma once

#include <stdio.h>

#include <cohort/cohort.h>

struct store {
  uint32_t world_size;
};

/* Gives this rank's bytes to `rank` and returns that rank's; null if it did not come. */
const void* store_exchange(struct store* store, uint32_t rank, const void* bytes, size_t count,
                           int64_t timeout_ms, size_t* length);
