/* What the models take from the code. Included by every .pml and by constants_test.cpp, which holds
 * each line against the C++ it stands for: a change there that is not made here fails the test. */

#ifndef COHORT_TESTS_PROTOCOL_CONSTANTS_H
#define COHORT_TESTS_PROTOCOL_CONSTANTS_H

/* heap::kPlaceCount: header places, and staging entries, of one (group, lane). */
#ifndef PLACE_COUNT
#define PLACE_COUNT 2
#endif

/* cuda::kBuffers: of the scratch that peers push into. */
#define GPU_BUFFERS 2

/* collectives::Place::Kind. */
#define PLACE_NONE 0
#define PLACE_HEAP 1
#define PLACE_STAGED 2
#define PLACE_REFUSED 3

/* host::reached, for words that count modulo MODULUS instead of 2^64. */
#define MODULUS 8
#define NEXT(sequence) (((sequence) + 1) % MODULUS)
#define PLUS(sequence, calls) (((sequence) + (calls)) % MODULUS)
#define REACHED(word, sequence) ((((word) + MODULUS - (sequence)) % MODULUS) < MODULUS / 2)

/* host::commit_word: states of the newest generation, and its pure functions. */
#define COMMIT_PENDING 0
#define COMMIT_COMMITTED 1
#define COMMIT_ABORTED 2
#define COMMIT_INITIAL COMMIT_ABORTED
#define HISTORY_BITS 30
/* History of the word in which the next generation is pending: the newest outcome in bit 0. */
#define HISTORY_BEGUN(history, state) ((((history) << 1) | ((state) == COMMIT_COMMITTED)) & 255)
/* Whether the generation `behind` (1 or more) generations before the newest was committed. */
#define WAS_COMMITTED(history, behind) (((history) >> ((behind)-1)) & 1)

/* host::FaultRecord::claim: free, then the owner, then complete for ever. All ones in the code. */
#define CLAIM_FREE 0
#define CLAIM_OWNER(rank) ((rank) + 1)
#define CLAIM_COMPLETE 255

/* host::RankState. */
#define RANK_ABSENT 0
#define RANK_JOINED 1
#define RANK_LEFT 2
#define RANK_DEAD 3

#endif
