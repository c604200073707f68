/* The header exchange of one (group, lane): two header places, two staging entries, a return only
 * after all headers, refusals, 0 rows, the wrap of the sequence.
 *
 * Ranks make CALLS calls; what a call does (`shape`) and with it the path is agreed, everything else
 * is each rank's own: how fast it is, whether it has rows, whether it refuses. The real order of
 * loads and stores is kept; the C++ function is named beside each step.
 *
 * What is checked: whoever reads an operand reads that of this very call; a refusal reaches every
 * member, with the text of the lowest member that refused; without a wrong call nobody sees a
 * mismatch, with one everybody does; nobody waits for ever.
 */
#include "constants.h"

#ifndef RANKS
#define RANKS 3
#endif
#ifndef CALLS
#define CALLS 4
#endif
#ifndef ODDITIES
#define ODDITIES 2
#endif
#define FIRST (MODULUS - 2) /* HostExecutorOptions::first_sequence: the third call wraps to 0 */

/* Shapes: the order in which an algorithm reads headers and operands. */
#define GATHER 0    /* pull_all_gather: an operand is read as soon as its header has come */
#define REDUCE 1    /* run_inline, pull_reduce_scatter: all headers, then all operands */
#define BROADCAST 2 /* pull_broadcast: the root's header and operand, then all headers */

#define NOBODY RANKS
#define LYING 100 /* hash of a call that differs from what the others call */

#ifdef FAULT_PLAIN_COMPARISON /* as if sequences never wrapped */
#define HAS_REACHED(word, sequence) ((word) >= (sequence))
#else
#define HAS_REACHED(word, sequence) REACHED(word, sequence)
#endif

typedef HeaderPlace {
  byte sequence;
  byte hash;
  byte place;
  byte payload /* inline operand or PullOffsets: the number of the call it belongs to */
};
typedef Arena {
  HeaderPlace places[PLACE_COUNT];
  byte staging[PLACE_COUNT]; /* the number of the call whose copy lies there */
  byte note[PLACE_COUNT]     /* CallNote::refusal: the number of the call it explains */
};

Arena arena[RANKS];
bool poisoned;
byte oddities_left = ODDITIES; /* refusals and operands of 0 rows in one run: bounds the search */
byte liar = NOBODY;     /* who makes another call than the others */
byte lie;               /* in which call */

/* What the ranks agree on before a call, and what really happened in it. Set by the first rank that
 * comes, forgotten with the last that leaves. No rank reads `refused_by` to decide anything. */
typedef Truth {
  byte shape;
  byte refused_by; /* bit per rank */
  byte entered;
  byte left
};
Truth truth[CALLS + 1];

#define PLACE_AT(member) arena[member].places[sequence % PLACE_COUNT]

/* Exchange::arrive: wait for the header, then Exchange::compare. */
inline arrive(member) {
  if
  :: HAS_REACHED(PLACE_AT(member).sequence, sequence)
  :: poisoned -> goto ended
  fi;
  d_step {
    if
    :: PLACE_AT(member).place == PLACE_REFUSED ->
       if :: member < first_refused -> first_refused = member :: else fi
    :: else ->
       if
#ifdef FAULT_NEIGHBOUR_ONLY
       :: member == (self + 1) % RANKS && place != PLACE_REFUSED && PLACE_AT(member).hash != hash ->
#else
       :: place != PLACE_REFUSED && PLACE_AT(member).hash != hash ->
#endif
          mismatch = true
       :: else
       fi
    fi
  };
  if
  :: mismatch -> /* Exchange::fail_mismatch, Domain::fail */
     assert(liar != NOBODY);
     poisoned = true;
     goto ended
  :: else
  fi
}

inline arrive_all() {
  step = 1;
  do
  :: step < RANKS -> arrive(((self + step) % RANKS)); step++
  :: else -> break
  od
}

/* Exchange::operand, Exchange::inline_operand: the bytes must be those of this call. */
inline read_operand(member) {
  if
  :: PLACE_AT(member).place == PLACE_STAGED ->
     assert(PLACE_AT(member).payload == call);
     assert(arena[member].staging[sequence % PLACE_COUNT] == call)
  :: else /* 0 rows, or refused */
  fi
}

inline copy_operand() {
  if
  :: place == PLACE_STAGED -> arena[self].staging[sequence % PLACE_COUNT] = call
  :: else
  fi
}

proctype Member(byte self) {
  byte sequence = FIRST;
  byte call = 0;
  byte place, hash, step, first_refused;
  bool mismatch = false;

  do
  :: call == CALLS -> break
  :: else ->
     /* Exchange::Exchange, HostExecutor::prepare: local, so one step. */
     atomic {
       call++;
       sequence = NEXT(sequence);
       first_refused = NOBODY;
       hash = call;
       if
       :: truth[call].entered == 0 ->
#ifdef SHAPE
          truth[call].shape = SHAPE
#else
          if
          :: truth[call].shape = GATHER
          :: truth[call].shape = REDUCE
          :: truth[call].shape = BROADCAST
          fi
#endif
       :: else
       fi;
       truth[call].entered++;
       if :: self == liar && call == lie -> hash = LYING :: else fi;
       if
       :: place = PLACE_STAGED
       :: oddities_left > 0 -> oddities_left--; place = PLACE_NONE
       :: oddities_left > 0 -> oddities_left--; place = PLACE_REFUSED;
          truth[call].refused_by = truth[call].refused_by | (1 << self)
       fi;
#ifdef FAULT_REFUSAL_KEEPS_SEQUENCE
     /* Thrown before anything is published, as any other bad argument would be. */
     if
     :: place == PLACE_REFUSED -> sequence = (sequence + MODULUS - 1) % MODULUS; goto next
     :: else
     fi;
#endif
#ifndef FAULT_HEADER_BEFORE_STAGING
       copy_operand() /* HostExecutor::publish_pull */
#endif
     };
     /* Exchange::publish_inline, Exchange::publish_pull, Exchange::publish_refusal: the body of the
      * place and the note, then the sequence with release. */
     d_step {
       PLACE_AT(self).hash = hash;
       PLACE_AT(self).place = place;
       PLACE_AT(self).payload = call;
       if
       :: place == PLACE_REFUSED -> arena[self].note[sequence % PLACE_COUNT] = call;
          first_refused = self
       :: else
       fi
     };
     PLACE_AT(self).sequence = sequence;
#ifdef FAULT_HEADER_BEFORE_STAGING
     copy_operand();
#endif
     /* HostExecutor::dispatch; a rank that refuses only waits for the headers. Loads alone, behind
      * conditions that stay true: see "atomic" in docs/protocol.md. */
     atomic {
     if
     :: place == PLACE_REFUSED || truth[call].shape == REDUCE ->
        arrive_all();
        if
        :: first_refused == NOBODY ->
           step = 1;
           do
           :: step < RANKS -> read_operand(((self + step) % RANKS)); step++
           :: else -> break
           od
        :: else
        fi
     :: place != PLACE_REFUSED && truth[call].shape == GATHER ->
        step = 1;
        do
        :: step < RANKS ->
           arrive(((self + step) % RANKS));
           read_operand(((self + step) % RANKS));
           step++
        :: else -> break
        od
     :: place != PLACE_REFUSED && truth[call].shape == BROADCAST ->
        if
        :: self != call % RANKS -> arrive((call % RANKS)); read_operand((call % RANKS))
        :: else
        fi;
#ifndef FAULT_RETURN_BEFORE_HEADERS
        arrive_all()
#endif
     fi;
     /* Exchange::rethrow_refusal: the note of the lowest member that refused. */
     if
     :: first_refused != NOBODY ->
        assert(arena[first_refused].note[sequence % PLACE_COUNT] == call)
     :: else
     fi;
     /* Every member knows of every refusal, and who was wrong did not pass. */
     d_step {
#ifndef FAULT_RETURN_BEFORE_HEADERS
       assert((first_refused == NOBODY) == (truth[call].refused_by == 0));
       assert(first_refused == NOBODY || (truth[call].refused_by & ((1 << first_refused) - 1)) == 0);
       assert(!(liar != NOBODY && call == lie) || truth[call].refused_by != 0);
#endif
       place = 0; hash = 0; step = 0; first_refused = 0;
       truth[call].left++;
       if
       :: truth[call].left == RANKS ->
          truth[call].shape = 0; truth[call].refused_by = 0;
          truth[call].entered = 0; truth[call].left = 0
       :: else
       fi
     }
     };
next:
     skip
  od;
ended:
  skip
}

init {
  atomic {
    byte i;
#ifdef WITH_LIAR
    select(liar : 0 .. RANKS - 1);
    select(lie : 1 .. CALLS);
    oddities_left = 0; /* a refusal hides what it refuses */
#endif
    for (i : 0 .. RANKS - 1) {
      arena[i].places[0].sequence = FIRST; /* Channel::initialise */
      arena[i].places[PLACE_COUNT - 1].sequence = FIRST
    }
    for (i : 0 .. RANKS - 1) { run Member(i) }
    i = 0
  }
}
