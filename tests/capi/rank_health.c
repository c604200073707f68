/* Health and idle marks from threads other than the one that is stuck in a call. */

#define _POSIX_C_SOURCE 200809L

#include "rank_health.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { kTextBytes = 1 << 16, kLooksMax = 60 * 1000 };

static int say(const char* what) {
  fprintf(stderr, "health: %s; last error: %s\n", what, cohort_last_error_message());
  return 1;
}

static void sleep_shortly(void) {
  const struct timespec pause = {.tv_nsec = 1000 * 1000};
  nanosleep(&pause, NULL);
}

/* What health says about one rank, up to its calls; "" if it says nothing. */
static void ask(cohort_world world, uint32_t rank, char text[kTextBytes]) {
  size_t length = 0;
  text[0] = '\0';
  if (cohort_health(world, text, kTextBytes, &length) != COHORT_OK || length >= kTextBytes) {
    say("cohort_health failed");
    return;
  }
  char start[64];
  snprintf(start, sizeof start, "{\"rank\":%u,\"state\":", (unsigned)rank);
  const char* const found = strstr(text, start);
  const char* const end = found == NULL ? NULL : strstr(found, "\"calls\"");
  if (strncmp(text, "{\"schema\":1,", 12) != 0 || end == NULL) {
    say(text);
    text[0] = '\0';
    return;
  }
  const size_t bytes = (size_t)(end - found);
  memmove(text, found, bytes);
  text[bytes] = '\0';
}

/* Asks until the rank is as told. */
static bool becomes(cohort_world world, uint32_t rank, const char* wanted) {
  char text[kTextBytes];
  for (int look = 0; look < kLooksMax; ++look) {
    ask(world, rank, text);
    if (strstr(text, wanted) != NULL) return true;
    sleep_shortly();
  }
  return say(text) == 0;
}

struct observer {
  cohort_world world;
  uint32_t rank;
  int outcome;
};

/* Sees its rank wait for rank 0, and lets rank 0 know by an idle mark. */
static void* observe(void* argument) {
  struct observer* const self = argument;
  const bool seen = becomes(self->world, self->rank, "\"waiting\":{\"rank\":0,");
  self->outcome = seen ? 0 : 1;
  if (cohort_idle_begin(self->world) != COHORT_OK) self->outcome = say("cohort_idle_begin");
  return NULL;
}

int check_health(cohort_world world, cohort_session session, uint32_t group) {
  uint32_t rank = 0;
  uint32_t size = 0;
  size_t length = 0;
  if (cohort_world_rank(world, &rank) != COHORT_OK ||
      cohort_world_size(world, &size) != COHORT_OK) {
    return say("no world");
  }
  if (cohort_health(world, NULL, 0, &length) != COHORT_OK || length < 100) return say("length");
  if (cohort_idle_end(world) != COHORT_ERROR_USAGE) return say("idle ended before it began");
  const cohort_call barrier = {.size = sizeof barrier, .group = group};
  if (rank == 0) {
    for (uint32_t peer = 1; peer < size; ++peer) {
      if (!becomes(world, peer, "\"state\":\"idle\"")) return 1;
    }
    return cohort_barrier(session, &barrier, NULL) == COHORT_OK ? 0 : say("barrier");
  }
  pthread_t thread;
  struct observer observer = {.world = world, .rank = rank};
  if (pthread_create(&thread, NULL, observe, &observer) != 0) return say("no thread");
  const int status = cohort_barrier(session, &barrier, NULL);
  pthread_join(thread, NULL);
  if (status != COHORT_OK) return say("barrier");
  if (cohort_idle_end(world) != COHORT_OK) return say("cohort_idle_end");
  return observer.outcome;
}
