// The models speak of the same numbers and the same arithmetic as the code.

#include "protocol/constants.h"

#include <gtest/gtest.h>

#include "backend/cuda/channel_map.hpp"
#include "backend/host/commit_word.hpp"
#include "backend/host/control_segment.hpp"
#include "backend/host/fault_record.hpp"
#include "collectives/header.hpp"
#include "collectives/host/channel.hpp"
#include "heap/arena_layout.hpp"

namespace cohort {
namespace {

using collectives::Place;
using host::CommitOutcome;
using host::FaultRecord;
using host::RankState;

template <typename Enum>
constexpr int number(Enum value) {
  return static_cast<int>(value);
}

static_assert(PLACE_COUNT == heap::kPlaceCount);

static_assert(GPU_BUFFERS == cuda::kBuffers);

static_assert(PLACE_NONE == number(Place::Kind::none));
static_assert(PLACE_HEAP == number(Place::Kind::heap));
static_assert(PLACE_STAGED == number(Place::Kind::staged));
static_assert(PLACE_REFUSED == number(Place::Kind::refused));

static_assert(COMMIT_PENDING == host::commit_word::kPending);
static_assert(COMMIT_COMMITTED == host::commit_word::kCommitted);
static_assert(COMMIT_ABORTED == host::commit_word::kAborted);
static_assert(COMMIT_INITIAL == host::commit_word::kInitial);
static_assert(HISTORY_BITS == host::commit_word::kHistoryCount);

static_assert(CLAIM_FREE == 0);  // how FaultRecord::claim starts
static_assert(CLAIM_OWNER(5) == FaultRecord::owner(WorldRank{5}));
static_assert(CLAIM_COMPLETE == static_cast<std::uint8_t>(FaultRecord::kComplete));

static_assert(RANK_ABSENT == number(RankState::absent));
static_assert(RANK_JOINED == number(RankState::joined));
static_assert(RANK_LEFT == number(RankState::left));
static_assert(RANK_DEAD == number(RankState::dead));

TEST(ProtocolConstants, AFreeRecordIsClaimedByNobody) {
  EXPECT_EQ(FaultRecord().claim.load(), static_cast<std::uint32_t>(CLAIM_FREE));
}

TEST(ProtocolConstants, CountingModuloAFewIsCountingModulo64Bits) {
  // Words shifted to the top wrap where the models' words do.
  constexpr std::uint64_t kScale = ~std::uint64_t{0} / MODULUS + 1;
  for (unsigned word = 0; word < MODULUS; ++word) {
    EXPECT_EQ(static_cast<std::uint64_t>(NEXT(word)) * kScale, (word + 1) * kScale);
    for (unsigned sequence = 0; sequence < MODULUS; ++sequence) {
      EXPECT_EQ(REACHED(word, sequence), host::reached(word * kScale, sequence * kScale))
          << word << " " << sequence;
      EXPECT_EQ(static_cast<std::uint64_t>(PLUS(word, sequence)) * kScale,
                (word + sequence) * kScale);
    }
  }
  EXPECT_EQ(MODULUS % PLACE_COUNT, 0);  // so that places alternate across the wrap, as in the code
}

TEST(ProtocolConstants, HistoryOfTheCommitWordMovesAlike) {
  constexpr std::uint32_t kGenerations = 6;  // as many as the models' history can hold
  for (unsigned outcomes = 0; outcomes < 1U << kGenerations; ++outcomes) {
    std::uint64_t word = host::commit_word::kInitial;
    unsigned history = 0;
    unsigned state = COMMIT_INITIAL;
    for (std::uint32_t generation = 1; generation <= kGenerations; ++generation) {
      const auto begun = host::commit_word::begun(word, generation);
      ASSERT_TRUE(begun.has_value());
      const bool committed = (outcomes >> (generation - 1) & 1U) != 0;
      word = host::commit_word::settled(
          *begun, committed ? CommitOutcome::committed : CommitOutcome::aborted);
      history = HISTORY_BEGUN(history, state);
      state = committed ? COMMIT_COMMITTED : COMMIT_ABORTED;
      EXPECT_EQ(state, host::commit_word::state(word));
      for (std::uint32_t behind = 1; behind < generation; ++behind) {
        const auto outcome = host::commit_word::outcome(word, generation - behind);
        ASSERT_TRUE(outcome.has_value());
        EXPECT_EQ(WAS_COMMITTED(history, behind) != 0, *outcome == CommitOutcome::committed);
      }
    }
  }
}

}  // namespace
}  // namespace cohort
