/* Ranks as threads of one C program, which meet by an all-gather of its own. */

#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "rank_body.h"

enum { kRanks = 5, kBytesMax = 1024 };

/* Where the ranks leave their bytes: one round at a time. */
struct meeting {
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  unsigned char bytes[kRanks][kBytesMax];
  size_t counts[kRanks];
  uint32_t arrived;
  uint32_t taken;   /* ranks that have read the round's bytes */
  uint64_t rounds;  /* that all have arrived in */
  uint64_t cleared; /* that all have read */
};

struct rank_thread {
  pthread_t thread;
  struct meeting* meeting;
  uint32_t rank;
  int outcome;
};

static struct timespec time_in(int64_t milliseconds) {
  struct timespec when;
  clock_gettime(CLOCK_REALTIME, &when);
  when.tv_sec += (time_t)(milliseconds / 1000);
  return when;
}

static int all_gather(void* context, const void* bytes, size_t count, int64_t timeout_ms,
                      cohort_gathered* gathered) {
  const struct rank_thread* const self = context;
  struct meeting* const m = self->meeting;
  if (count > kBytesMax) return COHORT_ERROR_UNSUPPORTED;
  const struct timespec deadline = time_in(timeout_ms);
  int status = COHORT_OK;
  pthread_mutex_lock(&m->mutex);
  memcpy(m->bytes[self->rank], bytes, count);
  m->counts[self->rank] = count;
  const uint64_t round = m->rounds;
  if (++m->arrived == kRanks) {
    ++m->rounds;
    m->taken = 0;
    pthread_cond_broadcast(&m->changed);
  }
  while (m->rounds == round && status == COHORT_OK) {
    if (pthread_cond_timedwait(&m->changed, &m->mutex, &deadline) == ETIMEDOUT) {
      status = COHORT_ERROR_TIMEOUT;
    }
  }
  for (uint32_t rank = 0; rank < kRanks && status == COHORT_OK; ++rank) {
    status = cohort_gathered_set(gathered, rank, m->bytes[rank], m->counts[rank]);
  }
  /* Nobody begins the next round before all have read this one. */
  if (++m->taken == kRanks) {
    m->arrived = 0;
    ++m->cleared;
    pthread_cond_broadcast(&m->changed);
  }
  while (m->cleared == round && status == COHORT_OK) {
    if (pthread_cond_timedwait(&m->changed, &m->mutex, &deadline) == ETIMEDOUT) {
      status = COHORT_ERROR_TIMEOUT;
    }
  }
  pthread_mutex_unlock(&m->mutex);
  return status;
}

static void* run(void* argument) {
  struct rank_thread* const self = argument;
  const cohort_wait_limits limits = test_limits();
  cohort_world world = NULL;
  if (cohort_join_callback(self->rank, kRanks, all_gather, self, &limits, &world) != COHORT_OK) {
    fprintf(stderr, "rank %u: %s\n", (unsigned)self->rank, cohort_last_error_message());
    self->outcome = 1;
    return NULL;
  }
  self->outcome = run_rank(world);
  return NULL;
}

int main(void) {
  static struct meeting meeting = {.mutex = PTHREAD_MUTEX_INITIALIZER,
                                   .changed = PTHREAD_COND_INITIALIZER};
  struct rank_thread ranks[kRanks];
  for (uint32_t rank = 0; rank < kRanks; ++rank) {
    ranks[rank] = (struct rank_thread){.meeting = &meeting, .rank = rank};
    if (pthread_create(&ranks[rank].thread, NULL, run, &ranks[rank]) != 0) return 1;
  }
  int outcome = 0;
  for (uint32_t rank = 0; rank < kRanks; ++rank) {
    pthread_join(ranks[rank].thread, NULL);
    outcome |= ranks[rank].outcome;
  }
  return outcome;
}
