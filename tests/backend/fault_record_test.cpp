#include "backend/host/fault_record.hpp"

#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace cohort::host {
namespace {

using namespace std::chrono_literals;

const auto kNobodyDied = [](WorldRank) { return false; };

Error error_of(std::uint32_t rank) {
  return Error(ErrorCode::timeout, "fault of rank " + std::to_string(rank), WorldRank{rank},
               "phase " + std::to_string(rank));
}

TEST(FaultRecord, KeepsTheFirstFaultWhole) {
  FaultRecord record;
  EXPECT_FALSE(is_complete(record));
  EXPECT_TRUE(write_first_fault(record, WorldRank{3}, error_of(7), kNobodyDied, 0ms));
  EXPECT_FALSE(write_first_fault(record, WorldRank{2}, error_of(2), kNobodyDied, 0ms));
  ASSERT_TRUE(is_complete(record));
  const Error read = read_fault(record);
  EXPECT_EQ(read.code(), ErrorCode::timeout);
  EXPECT_EQ(read.rank(), WorldRank{7});
  EXPECT_EQ(read.phase(), "phase 7");
  EXPECT_STREQ(read.what(), "fault of rank 7");
}

TEST(FaultRecord, IsTakenOverFromAWriterThatDied) {
  FaultRecord record;
  record.claim = FaultRecord::owner(WorldRank{1});
  const auto first_died = [](WorldRank rank) { return rank == WorldRank{1}; };
  EXPECT_TRUE(write_first_fault(record, WorldRank{0}, error_of(1), first_died, 0ms));
  EXPECT_STREQ(read_fault(record).what(), "fault of rank 1");
}

TEST(FaultRecord, IsNotTakenFromAWriterThatLives) {
  FaultRecord record;
  record.claim = FaultRecord::owner(WorldRank{1});
  EXPECT_FALSE(write_first_fault(record, WorldRank{0}, error_of(0), kNobodyDied, 20ms));
  EXPECT_FALSE(is_complete(record));
}

TEST(FaultRecord, OfManyWritersExactlyOneWins) {
  for (int turn = 0; turn < 200; ++turn) {
    FaultRecord record;
    std::atomic<std::uint32_t> winners{0};
    std::vector<std::thread> threads;
    for (std::uint32_t rank = 0; rank < 4; ++rank) {
      threads.emplace_back([&, rank] {
        if (write_first_fault(record, WorldRank{rank}, error_of(rank), kNobodyDied, 10s)) {
          winners.fetch_add(1);
        }
        EXPECT_TRUE(is_complete(record));
        const Error read = read_fault(record);
        EXPECT_EQ("fault of rank " + std::to_string(read.rank()->index()), read.what());
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(winners.load(), 1u);
  }
}

TEST(FaultRecord, LengthsThatAPeerBrokeAreNotTrusted) {
  FaultRecord record;
  record.text.fill('x');
  record.text_bytes = 1u << 30;
  record.phase_bytes = 1u << 30;
  EXPECT_EQ(std::string(read_fault(record).what()).size(), record.text.size());
}

}  // namespace
}  // namespace cohort::host
