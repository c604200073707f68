/* Reuse of heap entries across overlapping groups: `done` sequences, and what may be written when.
 *
 * Three ranks, groups {0, 1, 2}, {0, 1} and {1, 2}. Every rank runs the same program of STEPS steps,
 * chosen anew in every run: a group, and whether this rank's entry is what peers read (`operand`) or
 * what the call writes (`result`). An operand's entry comes from `take`; a result goes to the entry
 * that the ring would yield, without a take: the call itself has to see that it is free. Ranks that
 * are not in the group take as well, so that the rings stay alike.
 *
 * What is checked: a peer that reads an entry finds what that call put there, however late it reads;
 * a header never names another entry than this rank's; nobody waits for ever.
 */
#include "constants.h"

#define RANKS 3
#ifndef GROUPS
#define GROUPS 3
#endif
#ifndef STEPS
#define STEPS 3
#endif
#ifndef DEPTH
#define DEPTH 2
#endif
#ifndef ODDITIES
#define ODDITIES 1
#endif
#define FIRST (MODULUS - 2)
#define MEMBER(group, rank) (members_of[group].bits & (1 << (rank)))

typedef HeaderPlace {
  byte sequence;
  byte place;
  byte entry /* Place::entry */
};
typedef Channel {
  HeaderPlace places[PLACE_COUNT];
  byte done
};
typedef Arena {
  byte entries[DEPTH]; /* the step whose operand or result lies there */
  Channel channels[GROUPS]
};
typedef Bits { byte bits };

Arena arena[RANKS];
Bits members_of[GROUPS];
byte oddities_left = ODDITIES; /* refusals and operands of 0 rows in one run: bounds the search */

typedef Step {
  byte group;
  bool writes_result;
  byte entered;
  byte left
};
Step step_of[STEPS + 1];

#define HEADER(member) arena[member].channels[group].places[sequence % PLACE_COUNT]

/* HostExecutor::settle, SlotRings::settle, Channel::await_done: every member of every channel whose
 * last call with this entry is still noted. `waited_members` is all ranks but in a planted fault. */
inline settle(e, waited_members) {
  for (c : 0 .. GROUPS - 1) {
    if
    :: pending[e].bits & (1 << c) ->
       for (m : 0 .. RANKS - 1) {
         if
         :: m != self && MEMBER(c, m) && (waited_members & (1 << m)) ->
            REACHED(arena[m].channels[c].done, noted[e * GROUPS + c])
         :: else
         fi
       }
       noted[e * GROUPS + c] = 0
    :: else
    fi
  }
  pending[e].bits = 0;
  c = 0; m = 0
}

proctype Rank(byte self) {
  byte step = 0, cursor = 0, group, sequence, place, e, c, m;
  byte calls[GROUPS];  /* SyncWords::sequence, by channel */
  Bits pending[DEPTH]; /* SlotRings::State::pending */
  byte noted[DEPTH * GROUPS];
  bool refused;

  atomic { for (c : 0 .. GROUPS - 1) { calls[c] = FIRST } c = 0 };
  do
  :: step == STEPS -> break
  :: else ->
     atomic {
       step++;
       if
       :: step_of[step].entered == 0 ->
          if
          :: step_of[step].group = 0
          :: step_of[step].group = 1
#if GROUPS > 2
          :: step_of[step].group = 2
#endif
          fi;
          if :: step_of[step].writes_result = false :: step_of[step].writes_result = true fi
       :: else
       fi;
       step_of[step].entered++;
       group = step_of[step].group;
       e = cursor; /* SlotRings::next */
       cursor = (cursor + 1) % DEPTH;
       /* SessionState::take for an operand; HostExecutor::run_shared, before it publishes, for a
        * result. */
#ifndef FAULT_REUSE_BY_DEPTH
#ifdef FAULT_REUSE_BY_NEXT_HEADER
       if
       :: step_of[step].writes_result /* "this call's headers tell that all have come along" */
       :: else -> settle(e, 7)
       fi;
#else
#ifdef FAULT_REUSE_BY_NEXT_GROUP
       settle(e, members_of[group].bits);
#else
       settle(e, 7);
#endif
#endif
#endif
       if
       :: !MEMBER(group, self) -> goto next
       :: else
       fi;
       /* The caller writes its operand. HostExecutor::prepare, Exchange::Exchange, and the note of
        * the use in HostExecutor::publish_pull. */
       calls[group] = NEXT(calls[group]);
       sequence = calls[group];
       refused = false;
       if
       :: step_of[step].writes_result -> place = PLACE_NONE
       :: !step_of[step].writes_result -> arena[self].entries[e] = step; place = PLACE_HEAP
       :: !step_of[step].writes_result && oddities_left > 0 -> oddities_left--; place = PLACE_NONE
       :: oddities_left > 0 -> oddities_left--; place = PLACE_REFUSED; refused = true
       fi;
       if
       :: place == PLACE_HEAP -> pending[e].bits = pending[e].bits | (1 << group);
          noted[e * GROUPS + group] = sequence
       :: else
       fi
     };
     /* Exchange::publish; its own order is the subject of collective.pml. */
     d_step {
       HEADER(self).place = place;
       HEADER(self).entry = e;
       HEADER(self).sequence = sequence
     };
     /* pull_all_gather: Exchange::arrive, then the operand where the header says. */
     atomic {
       c = 1;
       do
       :: c < RANKS ->
          m = (self + c) % RANKS;
          if
          :: MEMBER(group, m) ->
             REACHED(HEADER(m).sequence, sequence);
             if
             :: HEADER(m).place == PLACE_REFUSED -> refused = true
             :: HEADER(m).place == PLACE_HEAP && place != PLACE_REFUSED ->
                assert(HEADER(m).entry == e);
                assert(arena[m].entries[e] == step)
             :: else
             fi
          :: else
          fi;
          c++
       :: else -> break
       od;
       c = 0; m = 0;
       /* What the call writes into this rank's entry. */
       if
       :: step_of[step].writes_result && !refused -> arena[self].entries[e] = step
       :: else
       fi
     };
     /* Exchange::publish_done. A refused rank may have taken the call for an inline one. */
#ifdef FAULT_REFUSED_WITHOUT_DONE
     if
     :: place != PLACE_REFUSED -> arena[self].channels[group].done = sequence
     :: else
     fi;
#else
     arena[self].channels[group].done = sequence;
#endif
next:
     skip;
     d_step {
       place = 0; sequence = 0; e = 0; refused = false; group = 0;
       step_of[step].left++;
       if
       :: step_of[step].left == RANKS -> step_of[step].group = 0;
          step_of[step].writes_result = false; step_of[step].entered = 0; step_of[step].left = 0
       :: else
       fi
     }
  od
}

init {
  atomic {
    byte i, j, k;
    members_of[0].bits = 7;
    members_of[1].bits = 3;
    members_of[GROUPS - 1].bits = (GROUPS > 2 -> 6 : 3);
    for (i : 0 .. RANKS - 1) {
      for (j : 0 .. GROUPS - 1) {
        arena[i].channels[j].done = FIRST; /* Channel::initialise */
        for (k : 0 .. PLACE_COUNT - 1) { arena[i].channels[j].places[k].sequence = FIRST }
      }
    }
    for (i : 0 .. RANKS - 1) { run Rank(i) }
    i = 0; j = 0; k = 0
  }
}
