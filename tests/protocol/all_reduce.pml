/* all_reduce beyond the inline limit, in place, call after call on the same entry: reduce-scatter and
 * all-gather, both by reading (pull_all_reduce). Part i of every operand is read by rank i alone,
 * and rank i's part of the result replaces it there.
 *
 * What is checked: who reduces a part finds the operands of this very call in it, who copies a part
 * of the result finds the result of this very call; nobody waits for ever.
 */
#include "constants.h"

#ifndef RANKS
#define RANKS 3
#endif
#ifndef CALLS
#define CALLS 3
#endif
#define FIRST (MODULUS - 2)
#define OPERAND(call) (2 * (call))
#define RESULT(call) (2 * (call) + 1)

typedef Arena {
  byte sequence[PLACE_COUNT]; /* HeaderPlace::sequence */
  byte result_ready;
  byte done;
  byte parts[RANKS] /* of the one entry */
};
Arena arena[RANKS];

proctype Rank(byte self) {
  byte call = 0, sequence = FIRST, step, member;

  do
  :: call == CALLS -> break
  :: else ->
     atomic {
       call++;
       /* SessionState::take: Channel::await_done of the call before. */
#ifndef FAULT_WITHOUT_SETTLING
       for (member : 0 .. RANKS - 1) {
         if
         :: member != self && call > 1 -> REACHED(arena[member].done, sequence)
         :: else
         fi
       }
#endif
       /* The caller writes its operand. */
       for (member : 0 .. RANKS - 1) { arena[self].parts[member] = OPERAND(call) }
       sequence = NEXT(sequence); /* Exchange::Exchange */
       member = 0
     };
     arena[self].sequence[sequence % PLACE_COUNT] = sequence; /* Exchange::publish_pull */
#ifdef FAULT_RESULT_BEFORE_REDUCING
     atomic {
       for (member : 0 .. RANKS - 1) {
         REACHED(arena[member].sequence[sequence % PLACE_COUNT], sequence)
       }
       member = 0
     };
     arena[self].result_ready = sequence;
#endif
     /* Exchange::arrive_all, then `reduce` over this rank's part of all operands. */
     atomic {
       for (step : 1 .. RANKS - 1) {
         member = (self + step) % RANKS;
         REACHED(arena[member].sequence[sequence % PLACE_COUNT], sequence)
       }
       for (member : 0 .. RANKS - 1) { assert(arena[member].parts[self] == OPERAND(call)) }
       arena[self].parts[self] = RESULT(call);
       step = 0; member = 0
     };
#ifndef FAULT_RESULT_BEFORE_REDUCING
     arena[self].result_ready = sequence; /* Exchange::publish_result */
#endif
#ifdef FAULT_DONE_BEFORE_COPYING
     arena[self].done = sequence;
#endif
     step = 1;
     do
     :: step < RANKS ->
        /* Exchange::await_result, then the copy of that part into this rank's output. */
        atomic {
          member = (self + step) % RANKS;
#ifdef FAULT_RESULT_BY_HEADER
          REACHED(arena[member].sequence[sequence % PLACE_COUNT], sequence);
#else
          REACHED(arena[member].result_ready, sequence);
#endif
          assert(arena[member].parts[member] == RESULT(call));
          arena[self].parts[member] = RESULT(call);
          step++; member = 0
        }
     :: else -> break
     od;
     step = 0;
#ifndef FAULT_DONE_BEFORE_COPYING
     arena[self].done = sequence /* Exchange::publish_done */
#endif
  od
}

init {
  atomic {
    byte i, j;
    for (i : 0 .. RANKS - 1) {
      arena[i].result_ready = FIRST; /* Channel::initialise */
      arena[i].done = FIRST;
      for (j : 0 .. PLACE_COUNT - 1) { arena[i].sequence[j] = FIRST }
    }
    for (i : 0 .. RANKS - 1) { run Rank(i) }
    i = 0; j = 0
  }
}
