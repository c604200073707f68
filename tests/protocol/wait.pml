/* Sleeping and waking (Domain::wake, sleep_once, wait_until, check_wait), and the end of a wait by
 * poison or because the peer left. WAITERS ranks wait for words 1 to WORDS of one peer, which then
 * leaves, or leaves early. No sleep ends by itself here: in the code each does after 100 ms, so what
 * would hang here would be late there.
 *
 * A store of the peer may stay in its store buffer (`buffered`) until it drains, as on every
 * processor, unless the peer executes a full barrier; loads overtake it.
 *
 * What is checked: no ring is missed; a peer that did its part and left is not taken for one that
 * left early; one that left early ends the wait.
 */
#include "constants.h"

#define WAITERS 2
#ifndef WORDS
#define WORDS 2
#endif

byte word;     /* what the peer publishes */
byte buffered; /* the newest word that has not reached memory; 0 is none */
byte sleepers; /* RankBlock::sleepers of the peer */
byte bell;     /* RankBlock::bell of the peer */
byte peer_state = RANK_JOINED;
bool poison;
bool asleep[WAITERS]; /* in the kernel's queue of that bell */
bool left_early;

#define READY (word >= wanted)

/* futex_wake_all. */
inline wake_all() {
  d_step { asleep[0] = false; asleep[1] = false }
}

/* Domain::ring, and for this peer's bell ring_everybody. */
inline ring() {
  bell = (bell + 1) % 8;
  wake_all()
}

proctype Drain() {
end:
  do
  :: atomic { buffered != 0 -> word = buffered; buffered = 0 }
  od
}

proctype Peer() {
  byte next = 1;
  do
  :: next > WORDS -> break
  :: left_early == false && next > 1 -> left_early = true; break
  :: next <= WORDS ->
#ifdef FAULT_PUBLISHED_WITHOUT_BARRIER
     atomic { buffered == 0 -> buffered = next }; /* memory_order_release */
#else
     word = next; /* memory_order_seq_cst: drained before the next load */
#endif
     if
     :: sleepers != 0 -> ring() /* Domain::wake */
     :: else
     fi;
     next++
  od;
  if
  :: !left_early -> goto stays /* alive, in other work */
  :: true
  fi;
  /* Domain::~Domain. Leaving is sequentially consistent, so it drains the buffer. */
  atomic { buffered == 0 -> peer_state = RANK_LEFT };
  ring();
stays:
  skip
}

proctype Waiter(byte self) {
  byte wanted = 1, seen;
  bool pointless;
  do
  :: wanted > WORDS -> break
  :: else ->
     /* Domain::wait_until */
     do
     :: READY -> break
     :: !READY ->
        /* Domain::sleep_once: say that one sleeps, read the bell, look. */
#ifdef FAULT_LOOKS_BEFORE_SAYING
        pointless = READY || poison || peer_state == RANK_LEFT;
        sleepers++;
        seen = bell;
#else
        sleepers++;
#ifndef FAULT_BELL_READ_AFTER_LOOKING
        seen = bell;
#endif
        pointless = READY;
        pointless = pointless || poison;
        pointless = pointless || peer_state == RANK_LEFT;
#ifdef FAULT_BELL_READ_AFTER_LOOKING
        seen = bell;
#endif
#endif
        if
        :: !pointless -> /* futex_wait */
           d_step { if :: bell == seen -> asleep[self] = true :: else fi };
           !asleep[self]
        :: else
        fi;
        d_step { seen = 0; pointless = false };
        sleepers--;
        if
        :: READY -> break
        :: !READY ->
           /* Domain::check_wait */
           if
           :: poison -> goto ended
           :: !poison ->
              if
              :: peer_state == RANK_LEFT ->
#ifndef FAULT_LEFT_WITHOUT_ANOTHER_LOOK
                 if
                 :: READY -> break
                 :: else -> assert(left_early); poison = true; wake_all(); goto ended
                 fi
#else
                 assert(left_early); poison = true; wake_all(); goto ended
#endif
              :: else
              fi
           fi
        fi
     od;
     wanted++
  od;
ended:
  skip
}

init {
  atomic { run Peer(); run Drain(); run Waiter(0); run Waiter(1) }
}
