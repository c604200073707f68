/* The first fault of a job: claimed by compare-and-swap, written, completed, then the poison word
 * (Domain::publish, fault_record.cpp). Each rank has its own thread, which may find a fault or wait
 * for another rank, and a monitor, which tells of deaths. DEATHS ranks die at any instruction.
 *
 * What is checked: whoever is poisoned reads a complete record, of one writer, that never changes;
 * if a fault was found, everybody who lives ends with it (unless IMPATIENT, where a rank may end its
 * wait for another that is writing at any moment, as it does for one that is stopped).
 */
#include "constants.h"

#define RANKS 3
#ifndef DEATHS
#define DEATHS 1
#endif

byte claim_word = CLAIM_FREE; /* FaultRecord::claim */
byte code, text;              /* FaultRecord::code, and all that is written with it */
bool poison;                  /* ControlSegment::poison */
byte rank_state[RANKS];       /* RankBlock::state */
bool alive[RANKS];

/* Ghosts. */
byte first_fault; /* what the first to be told was told; 0 is nothing */
bool found;       /* somebody alive has begun to publish a fault */

#define OWNED (claim_word != CLAIM_FREE && claim_word != CLAIM_COMPLETE)
#if defined(FAULT_TAKES_OVER_FROM_THE_LIVING)
#define MAY_BE_TAKEN_FROM(rank) true
#elif defined(FAULT_WITHOUT_TAKING_OVER)
#define MAY_BE_TAKEN_FROM(rank) false
#else
#define MAY_BE_TAKEN_FROM(rank) (rank_state[rank] == RANK_DEAD)
#endif
#ifdef IMPATIENT
#define WILL_NOT_END(rank) (!MAY_BE_TAKEN_FROM(rank))
#else
#define WILL_NOT_END(rank) (!alive[rank] && !MAY_BE_TAKEN_FROM(rank))
#endif
#define TAG(rank, by_monitor) (1 + 2 * (rank) + (by_monitor))

/* The function `claim` of fault_record.cpp: compare-and-swap from free, or from a rank known dead.
 * Its patience runs out, and `claimed` stays false, only for a rank that will not come to an end. */
inline claim(mine) {
  do
  :: atomic { claim_word == CLAIM_FREE -> claim_word = mine; claimed = true }; break
  :: claim_word == CLAIM_COMPLETE -> break
  :: atomic { OWNED && MAY_BE_TAKEN_FROM(claim_word - 1) -> seen = claim_word };
     d_step {
       if
       :: claim_word == seen -> claim_word = mine; claimed = true
       :: else
       fi;
       seen = 0
     };
     if
     :: claimed -> break
     :: else
     fi
  :: OWNED && WILL_NOT_END(claim_word - 1) -> break
  od
}

/* Domain::publish */
inline publish(tag) {
  d_step { found = true; claimed = false };
  claim(CLAIM_OWNER(self)); /* write_first_fault */
  if
  :: claimed ->
#ifdef FAULT_POISON_BEFORE_COMPLETE
     poison = true;
#endif
     code = tag;
     text = tag;
     claim_word = CLAIM_COMPLETE
  :: else
  fi;
#ifdef FAULT_FINDER_DOES_NOT_POISON
  if
  :: claimed -> poison = true
  :: else
  fi
#else
  if
  :: claim_word == CLAIM_COMPLETE -> poison = true /* is_complete; ring_everybody */
  :: else
  fi
#endif
}

proctype Rank(byte self) {
  byte seen;
  bool claimed;
  {
    if
#ifdef FINDERS
    :: self < FINDERS -> publish(TAG(self, 0))
#else
    :: publish(TAG(self, 0)) /* Domain::fail */
#endif
    :: poison                /* Domain::wait_until, Domain::check_wait */
    :: timeout ->            /* nobody found anything: the job went well */
       assert(!found);
       goto well
    fi;
    /* Domain::fault, read_fault; who has run out of patience throws its own error. */
    if
    :: poison ->
       d_step {
         assert(claim_word == CLAIM_COMPLETE);
         assert(code == text && code != 0);
         assert(first_fault == 0 || first_fault == code);
         first_fault = code
       }
    :: else -> assert(!claimed)
    fi;
well:
    skip
  } unless { !alive[self] }
}

#if DEATHS > 0
/* Monitor::run, Domain::mark_ended. */
proctype Watch(byte self) {
  byte seen, peer, told;
  bool claimed;
  {
    skip;
end:
    do
    :: atomic {
         if
         :: self != 0 && !alive[0] && !(told & 1) -> peer = 0
         :: self != 1 && !alive[1] && !(told & 2) -> peer = 1
         :: self != 2 && !alive[2] && !(told & 4) -> peer = 2
         fi;
         told = told | (1 << peer);
         rank_state[peer] = RANK_DEAD
       };
       publish(TAG(self, 1));
       d_step { peer = 0; claimed = false }
    od
  } unless { !alive[self] }
}

proctype Death() {
  byte victim, deaths = DEATHS;
  do
  :: deaths == 0 -> break
  :: else ->
     atomic {
       deaths--;
       victim = 0;
       do :: victim < RANKS - 1 -> victim++ :: break od;
       alive[victim] = false;
       victim = 0
     }
  od
}
#endif

init {
  atomic {
    byte i;
    for (i : 0 .. RANKS - 1) { alive[i] = true; rank_state[i] = RANK_JOINED }
    for (i : 0 .. RANKS - 1) {
      run Rank(i);
#if DEATHS > 0
      run Watch(i)
#endif
    }
#if DEATHS > 0
    run Death();
#endif
    i = 0
  }
}
