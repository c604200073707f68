/* send and recv: an own sequence for each ordered pair, two header places at the sender, explicit
 * credit by the receiver. Rank 0 sends SENDS messages to ranks 1 and 2, in any order of receivers; a
 * send returns without waiting for its receiver.
 *
 * An operand rides with its header, lies in the sender's one heap entry, in one of two staging
 * entries which all pairs share, or has 0 elements. Either side may refuse.
 *
 * What is checked: a receiver finds the operand of the very send that its recv meets; a refusal of
 * the sender reaches that recv; a refusal of the receiver reaches the sender no later than two sends
 * on; nobody waits for ever.
 */
#include "constants.h"

#define PAIRS 2 /* 0: from rank 0 to rank 1; 1: from rank 0 to rank 2 */
#ifndef SENDS
#define SENDS 4
#endif
#ifndef ODDITIES
#define ODDITIES 1
#endif
#define FIRST (MODULUS - 2)

#ifdef STAGING_OF_EACH_PAIR
#define STAGING_RINGS PAIRS
#define RING pair
#else
#define STAGING_RINGS 1
#define RING 0
#endif
#define STAGING_ENTRIES (STAGING_RINGS * PLACE_COUNT)

typedef HeaderPlace {
  byte sequence;
  byte place;
  byte payload; /* inline operand: the number of the send */
  byte entry    /* of the staging */
};
typedef Pair {
  HeaderPlace places[PLACE_COUNT]; /* in the sender's arena */
  byte credit;                     /* PairWords::credit, in the receiver's arena */
  bool has_refusal[PLACE_COUNT];   /* PairWords::refusals, in the receiver's arena */
  byte refusal[PLACE_COUNT]        /* the sequence that it is about */
};
Pair pairs[PAIRS];
byte heap_entry;                   /* the number of the send whose operand lies there */
byte staging[STAGING_ENTRIES];
byte oddities_left = ODDITIES;     /* refusals and sends of 0 elements: bounds the search */

/* Ghosts. */
typedef Truth {
  byte sent[MODULUS];    /* the number of the send, by sequence */
  bool refused[MODULUS]; /* by the receiver */
  byte total;            /* sends of the whole program */
  byte received
};
Truth truth[PAIRS];
byte receiver_of[SENDS + 1];

#define PLACE_AT pairs[pair].places[sequence % PLACE_COUNT]

/* PairChannel::next_refusal: the first refusal that this rank has not seen yet; thrown once the
 * message at hand is out. */
inline next_refusal() {
  do
  :: checked[pair] == pairs[pair].credit -> break
  :: else ->
     checked[pair] = NEXT(checked[pair]);
     p = checked[pair];
     if
     :: pairs[pair].has_refusal[p % PLACE_COUNT] && pairs[pair].refusal[p % PLACE_COUNT] == p ->
        truth[pair].refused[p] = false;
        break
     :: else
     fi
  od;
  p = 0
}

proctype Sender() {
  byte number = 0, pair, sequence, place, used, p;
  byte calls[PAIRS], checked[PAIRS];
  byte noted[PAIRS];                   /* the heap entry's pending uses, by pair */
  bool pending[PAIRS];
  byte staged[STAGING_RINGS];          /* staged sends so far */
  byte staged_pair[STAGING_ENTRIES];   /* of the last use */
  byte staged_sequence[STAGING_ENTRIES];
  bool staged_before[STAGING_ENTRIES];

  atomic { for (p : 0 .. PAIRS - 1) { calls[p] = FIRST; checked[p] = FIRST } p = 0 };
  do
  :: number == SENDS -> break
  :: else ->
     atomic {
       number++;
       pair = receiver_of[number];
       calls[pair] = NEXT(calls[pair]);
       sequence = calls[pair];
       if
       :: place = PLACE_STAGED
#ifndef STAGED_ALONE
       :: place = PLACE_NONE; used = 1 /* inline */
       :: place = PLACE_HEAP
       :: oddities_left > 0 -> oddities_left--; place = PLACE_NONE; used = 0 /* 0 elements */
       :: oddities_left > 0 -> oddities_left--; place = PLACE_REFUSED
#endif
       fi;
       /* The caller takes the heap entry (HostExecutor::settle) and writes its operand. */
       if
       :: place == PLACE_HEAP ->
#ifndef FAULT_TAKEN_WITHOUT_CREDIT
          for (p : 0 .. PAIRS - 1) {
            if
            :: pending[p] -> REACHED(pairs[p].credit, noted[p]); pending[p] = false; noted[p] = 0
            :: else
            fi
          }
          p = 0;
#endif
          heap_entry = number
       :: else
       fi;
       /* Message::await_place: what the place held before has been received. */
#ifndef FAULT_SENT_WITHOUT_CREDIT
       REACHED(pairs[pair].credit, PLUS(sequence, MODULUS - PLACE_COUNT));
#endif
#ifndef FAULT_REFUSALS_READ_AFTER_PUBLISHING
       next_refusal();
#ifndef FAULT_SENT_WITHOUT_CREDIT
       assert(!truth[pair].refused[PLUS(sequence, MODULUS - PLACE_COUNT)]);
#endif
#endif
       truth[pair].sent[sequence] = number;
       /* HostExecutor::publish_message, PairChannel::claim_staging, SlotRings::note_use */
       if
       :: place == PLACE_STAGED ->
          p = RING * PLACE_COUNT + staged[RING] % PLACE_COUNT;
#ifndef FAULT_STAGED_WITHOUT_CREDIT
          if
          :: staged_before[p] -> REACHED(pairs[staged_pair[p]].credit, staged_sequence[p])
          :: else
          fi;
#endif
          staged[RING] = (staged[RING] + 1) % PLACE_COUNT;
          staged_before[p] = true; staged_pair[p] = pair; staged_sequence[p] = sequence;
#ifndef FAULT_HEADER_BEFORE_STAGING
          staging[p] = number;
#endif
          used = p
       :: place == PLACE_HEAP -> pending[pair] = true; noted[pair] = sequence
       :: else
       fi;
       p = 0
     };
     /* Message::publish; the order within a place is the subject of collective.pml. */
     d_step {
       PLACE_AT.place = place;
       PLACE_AT.payload = (place == PLACE_NONE && used -> number : 0);
       PLACE_AT.entry = (place == PLACE_STAGED -> used : 0);
       PLACE_AT.sequence = sequence
     };
#ifdef FAULT_HEADER_BEFORE_STAGING
     if
     :: place == PLACE_STAGED -> staging[used] = number
     :: else
     fi;
#endif
#ifdef FAULT_REFUSALS_READ_AFTER_PUBLISHING
     atomic {
       next_refusal();
       assert(!truth[pair].refused[PLUS(sequence, MODULUS - PLACE_COUNT)])
     };
#endif
     d_step { pair = 0; sequence = 0; place = 0; used = 0 }
  od
}

proctype Receiver(byte pair) {
  byte sequence = FIRST;
  bool refuses;
#ifdef FAULT_REFUSAL_READ_AFTER_CREDIT
  bool refused;
#endif
  do
  :: truth[pair].received == truth[pair].total -> break
  :: else ->
#ifdef RELAYED
     /* The program: rank 1 first waits for a message of rank 2, which rank 2 sends once it has
      * received its first one from rank 0. */
     if
     :: pair == 0 -> truth[1].received > 0
     :: else
     fi;
#endif
     atomic {
       sequence = NEXT(sequence);
       if
       :: refuses = false
       :: oddities_left > 0 -> oddities_left--; refuses = true
       fi
     };
#ifdef FAULT_CREDIT_BEFORE_COPYING
     REACHED(PLACE_AT.sequence, sequence);
     pairs[pair].credit = sequence;
#endif
     /* Message::arrive, then the copy of HostExecutor::receive, or Message::leave_refusal. */
     atomic {
       REACHED(PLACE_AT.sequence, sequence);
#ifdef FAULT_REFUSAL_READ_AFTER_CREDIT
       refused = (PLACE_AT.place == PLACE_REFUSED);
#endif
       if
       :: PLACE_AT.place == PLACE_REFUSED /* Message::sender_refusal: what recv will throw */
       :: PLACE_AT.place != PLACE_REFUSED && refuses ->
          pairs[pair].has_refusal[sequence % PLACE_COUNT] = true;
          pairs[pair].refusal[sequence % PLACE_COUNT] = sequence;
          truth[pair].refused[sequence] = true
       :: !refuses && PLACE_AT.place == PLACE_NONE ->
          assert(PLACE_AT.payload == 0 || PLACE_AT.payload == truth[pair].sent[sequence])
       :: !refuses && PLACE_AT.place == PLACE_HEAP ->
          assert(heap_entry == truth[pair].sent[sequence])
       :: !refuses && PLACE_AT.place == PLACE_STAGED ->
          assert(staging[PLACE_AT.entry] == truth[pair].sent[sequence])
       fi;
       truth[pair].received++;
#ifndef FAULT_SENT_WITHOUT_CREDIT
       truth[pair].sent[sequence] = 0
#endif
     };
     /* Message::give_credit */
     pairs[pair].credit = sequence;
#ifdef FAULT_REFUSAL_READ_AFTER_CREDIT
     assert(!refused || (PLACE_AT.place == PLACE_REFUSED && PLACE_AT.sequence == sequence));
     refused = false;
#endif
     refuses = false
  od
}

init {
  atomic {
    byte i, j;
    for (i : 0 .. PAIRS - 1) {
      pairs[i].credit = FIRST;
      for (j : 0 .. PLACE_COUNT - 1) { pairs[i].places[j].sequence = FIRST }
    }
    for (i : 1 .. SENDS) {
#ifdef RELAYED
      receiver_of[i] = (i > 2);
#else
      if :: receiver_of[i] = 0 :: receiver_of[i] = 1 fi;
#endif
      truth[receiver_of[i]].total++
    }
    run Sender();
    for (i : 0 .. PAIRS - 1) { run Receiver(i) }
    i = 0; j = 0
  }
}
