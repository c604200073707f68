/* Calls on a device: every block pushes to its twin on each peer and polls its own scratch (kernels
 * `once` and `split`). Two buffers in turn, cleared by who reads; the sequence is a counter to which
 * the blocks of a call add up.
 *
 * Each block has a header and a line for each peer. In calls of KIND raw there are two lines, of which
 * the first holds the sentinel as data, and a release flag follows them; in calls of KIND idle the
 * rank with the highest number has no data. Stores to a peer arrive in any order, but for what a fence keeps apart,
 * and at the end of the kernel at the latest, as do clears.
 *
 * What is checked: what a block takes is what its twin pushed in this very call, the scratch of a
 * buffer is empty when it comes up again, and nobody waits for ever.
 */
#include "constants.h"

#ifndef RANKS
#define RANKS 2
#endif
#ifndef BLOCKS
#define BLOCKS 2
#endif
#ifndef CALLS
#define CALLS 4
#endif
#ifndef BUFFERS
#define BUFFERS GPU_BUFFERS
#endif
/* Even calls have one block only. */
#define BLOCKS_OF(call) ((call) % 2 == 0 -> 1 : BLOCKS)
/* The counter rises by STEP with each call: a share for each block of it. */
#define STEP 2
#define SHARE(call) (STEP / BLOCKS_OF(call))

#define SENTINEL 0
#define PLAIN 0
#define RAW 1
#define IDLE 2
#ifndef KIND
#define KIND(call) PLAIN
#endif
/* What a line holds in a call; odd, so that it is not the sentinel. */
#define VALUE(call, from) (8 * (call) + 2 * (from) + 1)
#define FIRST_LINE(call, from) (KIND(call) == RAW -> SENTINEL : VALUE(call, from))
#define SENDS(call, from) (KIND(call) != IDLE || (from) != RANKS - 1)

/* At rank `to`, from rank `from`, for block `block`, in buffer `buffer`. */
#define AT(to, from, block, buffer) ((((to) * RANKS + (from)) * BLOCKS + (block)) * BUFFERS + (buffer))
#define PLACES (RANKS * RANKS * BLOCKS * BUFFERS)
byte header[PLACES];
byte first[PLACES];
byte second[PLACES];
byte chunk[PLACES];   /* 64-bit sequence: never wraps */
byte counter[RANKS];

#define BUFFER(sequence) ((sequence) % BUFFERS)
/* Bits of what is still to do. */
#define PUSH_HEADER 1
#define PUSH_FIRST 2
#define PUSH_SECOND 4
#define PUSH_CHUNK 8
#define POLL_HEADER 16
#define POLL_FIRST 32
#define POLL_SECOND 64
#define CLEAR_FIRST 128
#define CLEAR_SECOND 256
#define CLEAR_OTHER 512

/* A store to the scratch of peer `p`, a poll of what it pushes, or a clear of what was read. */
#define MINE(p) AT(self, p, block, BUFFER(sequence))
#define THEIRS(p) AT(p, self, block, BUFFER(sequence))
#define OTHER(p) AT(self, p, block, BUFFER(sequence + 1))
#define IS(p, bits) ((todo[p] & (bits)) != 0)
#define DONE(p, bit) todo[p] = todo[p] & ~(bit)
#define ARRIVED(p, line) (line[MINE(p)] != SENTINEL || chunk[MINE(p)] == sequence)
#ifdef FAULT_FLAG_WITHOUT_FENCE
#define FENCED(p) true
#else
#define FENCED(p) !IS(p, PUSH_FIRST | PUSH_SECOND)
#endif
#ifdef FAULT_CLEARED_A_CALL_LATER
#define CLEAR_AFTER_READING 0
#else
#define CLEAR_AFTER_READING CLEAR_FIRST
#endif
#define STEPS_WITH(p) \
  :: d_step { IS(p, PUSH_HEADER) -> header[THEIRS(p)] = sequence; DONE(p, PUSH_HEADER) } \
  :: d_step { IS(p, PUSH_FIRST) -> assert(first[THEIRS(p)] == SENTINEL); \
       first[THEIRS(p)] = FIRST_LINE(call, self); DONE(p, PUSH_FIRST) } \
  :: d_step { IS(p, PUSH_SECOND) -> assert(second[THEIRS(p)] == SENTINEL); \
       second[THEIRS(p)] = VALUE(call, self); DONE(p, PUSH_SECOND) } \
  :: d_step { IS(p, PUSH_CHUNK) && FENCED(p) -> chunk[THEIRS(p)] = sequence; DONE(p, PUSH_CHUNK) } \
  :: d_step { IS(p, POLL_HEADER) && header[MINE(p)] == sequence -> DONE(p, POLL_HEADER) } \
  :: d_step { IS(p, POLL_FIRST) && ARRIVED(p, first) -> \
       assert(first[MINE(p)] == FIRST_LINE(call, p)); \
       DONE(p, POLL_FIRST); todo[p] = todo[p] | CLEAR_AFTER_READING } \
  :: d_step { IS(p, POLL_SECOND) && ARRIVED(p, second) -> \
       assert(second[MINE(p)] == VALUE(call, p)); \
       DONE(p, POLL_SECOND); todo[p] = todo[p] | CLEAR_SECOND } \
  :: d_step { IS(p, CLEAR_FIRST) -> first[MINE(p)] = SENTINEL; DONE(p, CLEAR_FIRST) } \
  :: d_step { IS(p, CLEAR_OTHER) -> first[OTHER(p)] = SENTINEL; DONE(p, CLEAR_OTHER) } \
  :: d_step { IS(p, CLEAR_SECOND) -> second[MINE(p)] = SENTINEL; DONE(p, CLEAR_SECOND) }

#if RANKS > 2
#define STEPS_WITH_THIRD STEPS_WITH(2)
#define NOTHING_LEFT (todo[0] == 0 && todo[1] == 0 && todo[2] == 0)
#else
#define STEPS_WITH_THIRD
#define NOTHING_LEFT (todo[0] == 0 && todo[1] == 0)
#endif

proctype Block(byte self; byte block) {
  byte call = 0, sequence = 0, peer = 0, rest = 0;
  short todo[RANKS];

  do
  :: call == CALLS -> break
  :: else ->
     call++;
     if
     :: block >= BLOCKS_OF(call) -> skip
     :: else ->
#ifdef FAULT_BEFORE_THE_DEPENDENCY
        /* As soon as the call before has begun, in which this block may have had no part. */
        atomic { counter[self] >= (call - 1) * STEP - 1 || call == 1 -> sequence = call };
#else
        /* griddepcontrol.wait: every block of the call before has ended. Then the sequence. */
        atomic { counter[self] >= (call - 1) * STEP -> sequence = counter[self] / STEP + 1;
          assert(sequence == call) };
#endif
        d_step {
          for (peer : 0 .. RANKS - 1) {
            todo[peer] = 0;
            if
            :: peer != self ->
#ifdef FAULT_HEADER_ONLY_WITH_DATA
               if
               :: SENDS(call, self) -> todo[peer] = todo[peer] | PUSH_HEADER
               :: else
               fi;
               if
               :: SENDS(call, peer) -> todo[peer] = todo[peer] | POLL_HEADER
               :: else
               fi;
#else
               todo[peer] = todo[peer] | PUSH_HEADER | POLL_HEADER;
#endif
#ifdef FAULT_CLEARED_A_CALL_LATER
               todo[peer] = todo[peer] | CLEAR_OTHER;
#endif
               if
               :: SENDS(call, self) -> todo[peer] = todo[peer] | PUSH_FIRST;
                  if
                  :: KIND(call) == RAW -> todo[peer] = todo[peer] | PUSH_SECOND | PUSH_CHUNK
                  :: else
                  fi
               :: else
               fi;
               if
               :: SENDS(call, peer) -> todo[peer] = todo[peer] | POLL_FIRST;
                  if
                  :: KIND(call) == RAW -> todo[peer] = todo[peer] | POLL_SECOND
                  :: else
                  fi
               :: else
               fi
            :: else
            fi
          }
          peer = 0
        };
        do
        STEPS_WITH(0)
        STEPS_WITH(1)
        STEPS_WITH_THIRD
        :: atomic { NOTHING_LEFT -> counter[self] = counter[self] + SHARE(call); break }
        od
     fi
  od
}

init {
  atomic {
    byte i, j;
    for (i : 0 .. RANKS - 1) {
      for (j : 0 .. BLOCKS - 1) { run Block(i, j) }
    }
    i = 0; j = 0
  }
}
