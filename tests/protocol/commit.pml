/* The outcome of a generation: one word, decided by compare-and-swap (Domain::decide,
 * Domain::begin_generation, commit_word.hpp). Ranks are ready or not, come late, give up at any moment (DEADLINES) and die at
 * any instruction (DEATHS); a rank may be a generation ahead of another.
 *
 * What is checked: all who learn the outcome of a generation learn the same; it is committed only if
 * every rank was ready; a rank that is slow still finds the outcome of an older generation; without
 * deadlines nobody waits for ever.
 */
#include "constants.h"

#ifndef RANKS
#define RANKS 3
#endif
#ifndef GENERATIONS
#define GENERATIONS 2
#endif
#ifndef DEATHS
#define DEATHS 0
#endif
#ifndef UNREADY
#define UNREADY 1
#endif

/* The three fields of the word; read and swapped as one. */
byte generation = 0;
byte history = 0;
byte state = COMMIT_INITIAL;

byte ready_generation[RANKS]; /* RankBlock::ready_generation */
byte rank_state[RANKS];       /* RankBlock::state */
bool alive[RANKS];

/* Ghosts. */
byte ready_ranks[GENERATIONS + 1]; /* bit per rank that was ready */
byte outcome_of[GENERATIONS + 1];  /* what the first to learn it learned */
byte unready_left = UNREADY;

#define PENDING (generation == mine && state == COMMIT_PENDING)
#define LOAD(into_generation, into_history, into_state) \
  into_generation = generation; into_history = history; into_state = state

/* Domain::settle_generation. Its loop ends with the first swap that succeeds, or with
 * somebody else's: one step. */
inline settle(outcome) {
#ifdef FAULT_STORE_INSTEAD_OF_SWAP
  if
  :: PENDING -> state = outcome
  :: else
  fi
#else
  d_step {
    if
    :: PENDING -> state = outcome
    :: else
    fi
  }
#endif
}

/* A rank goes by `outcome` from here on. */
inline learn(outcome) {
  assert(outcome != COMMIT_COMMITTED || ready_ranks[mine] == (1 << RANKS) - 1);
  assert(outcome_of[mine] == COMMIT_PENDING || outcome_of[mine] == outcome);
  outcome_of[mine] = outcome
}

proctype Rank(byte self) {
  byte mine = 0, peer, seen_generation, seen_history, seen_state;
  bool ready;

  {
    do
    :: mine == GENERATIONS -> break
    :: else ->
       atomic {
         mine++;
         ready = true;
         if
         :: true
         :: unready_left > 0 -> unready_left--; ready = false
         fi
       };
       /* Domain::begin_generation: unless somebody has. commit_word::begun */
       d_step { LOAD(seen_generation, seen_history, seen_state) };
       do
       :: seen_generation + 1 == mine && seen_state != COMMIT_PENDING ->
          d_step {
            if
            :: generation == seen_generation && state == seen_state && history == seen_history ->
               history = HISTORY_BEGUN(history, state);
               generation = mine;
               state = COMMIT_PENDING
            :: else
            fi;
            LOAD(seen_generation, seen_history, seen_state)
          }
       :: else -> break
       od;
       /* Otherwise Error{usage}: the generation does not follow. */
       assert(seen_generation >= mine);
       d_step { seen_generation = 0; seen_history = 0; seen_state = 0 };
       if
       :: ready ->
          d_step { ready_ranks[mine] = ready_ranks[mine] | (1 << self);
                   ready_generation[self] = mine }
       :: else -> settle(COMMIT_ABORTED)
       fi;
       /* `pending()` is asked before each look at a peer, and once more by each swap. */
       peer = 0;
       do
       :: !PENDING -> break
       :: PENDING && peer < RANKS && ready_generation[peer] == mine ->
          peer++;
          if
          :: peer == RANKS ->
#ifdef FAULT_USED_BEFORE_DECIDED
             learn(COMMIT_COMMITTED);
#endif
             settle(COMMIT_COMMITTED)
          :: else
          fi
       :: PENDING && peer < RANKS && rank_state[peer] != RANK_JOINED -> settle(COMMIT_ABORTED)
#ifdef DEADLINES
       :: PENDING && peer < RANKS && ready_generation[peer] != mine -> settle(COMMIT_ABORTED)
#endif
       od;
       skip;
       /* commit_word::outcome */
       d_step {
         LOAD(seen_generation, seen_history, seen_state);
#ifndef FAULT_WITHOUT_HISTORY
         if
         :: seen_generation == mine -> skip
         :: else ->
            seen_state = (WAS_COMMITTED(seen_history, seen_generation - mine) ->
                            COMMIT_COMMITTED : COMMIT_ABORTED)
         fi;
         assert(seen_state != COMMIT_PENDING);
#endif
         learn(seen_state);
         seen_generation = 0; seen_history = 0; seen_state = 0; peer = 0
       }
    od
  } unless { !alive[self] }
}

#if DEATHS > 0
/* The monitors of the survivors: Domain::mark_ended. */
proctype Death() {
  byte victim;
  select(victim : 0 .. RANKS - 1);
  alive[victim] = false;
  rank_state[victim] = RANK_DEAD
}
#endif

init {
  atomic {
    byte i;
    for (i : 0 .. RANKS - 1) { alive[i] = true; rank_state[i] = RANK_JOINED }
    for (i : 0 .. RANKS - 1) { run Rank(i) }
#if DEATHS > 0
    run Death();
#endif
    i = 0
  }
}
