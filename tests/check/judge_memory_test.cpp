#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backend/host/control_segment.hpp"
#include "check/facts.hpp"
#include "check/judge.hpp"

namespace cohort::check {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr std::uint64_t kMib = std::uint64_t{1} << 20;
constexpr std::uint64_t kGib = std::uint64_t{1} << 30;

TEST(MemoryRow, AllArenasAndTheControlSegmentMustFit) {
  HostFacts facts = good_facts();
  const std::uint64_t control = host::ControlSegment::bytes_for(4);
  facts.memory->bytes = 4 * kGib + control;
  const Row fits = memory_row(facts, {4, kGib});
  EXPECT_EQ(fits.status, Status::ok);
  EXPECT_EQ(fits.value, "4.0 GiB free (the machine's free memory)");
  EXPECT_THAT(fits.meaning, HasSubstr("4 ranks with arenas of 1.0 GiB need 4.0 GiB"));
  EXPECT_THAT(fits.remedy, IsEmpty());
  facts.memory->bytes -= 1;
  const Row misses = memory_row(facts, {4, kGib});
  EXPECT_EQ(misses.status, Status::problem);
  EXPECT_THAT(misses.remedy, HasSubstr("fewer ranks"));
}

TEST(MemoryRow, NamesTheLimitThatHolds) {
  HostFacts facts = good_facts();
  facts.memory = AvailableMemory{512 * kMib, "the memory limit of the container"};
  EXPECT_EQ(memory_row(facts, {2, 512 * kMib}).status, Status::problem);
  EXPECT_THAT(memory_row(facts, {2, 512 * kMib}).value, HasSubstr("of the container"));
}

TEST(MemoryRow, WithoutAnArenaItSaysHowToAsk) {
  const Row row = memory_row(good_facts(), {2, std::nullopt});
  EXPECT_EQ(row.status, Status::ok);
  EXPECT_THAT(row.meaning, HasSubstr("--arena"));
}

TEST(MemoryRow, TheLargestArenaOfTheMostRanksDoesNotOverflow) {
  EXPECT_EQ(memory_row(good_facts(), {1024, std::uint64_t{1} << 46}).status, Status::problem);
}

TEST(MemoryRow, MayBeUnknown) {
  HostFacts facts = good_facts();
  facts.memory.reset();
  EXPECT_EQ(memory_row(facts, {2, kMib}).status, Status::warning);
  EXPECT_EQ(memory_row(facts, {2, kMib}).value, "unknown");
}

TEST(HugePagesRow, IsNeverAProblem) {
  HostFacts facts = good_facts();
  for (const char* choice : {"always", "within_size", "force"}) {
    facts.shared_huge_pages = choice;
    EXPECT_THAT(huge_pages_row(facts).meaning, HasSubstr("gets huge pages")) << choice;
  }
  for (const char* choice : {"never", "advise", "deny"}) {
    facts.shared_huge_pages = choice;
    EXPECT_EQ(huge_pages_row(facts).value, choice);
    EXPECT_EQ(huge_pages_row(facts).status, Status::ok);
    EXPECT_THAT(huge_pages_row(facts).meaning, HasSubstr("small pages")) << choice;
  }
  facts.shared_huge_pages = "";
  EXPECT_EQ(huge_pages_row(facts).value, "unknown");
}

TEST(ProcessesRow, EveryRankIsTwoAndLibrariesWantMore) {
  HostFacts facts = good_facts();
  facts.usable_cpus = 8;
  EXPECT_EQ(processes_row(facts, {4, std::nullopt}).status, Status::ok);
  EXPECT_EQ(processes_row(facts, {4, std::nullopt}).value, "no limit of the container");
  const auto status_with = [&](std::size_t left) {
    facts.startable_processes = left;
    const Row row = processes_row(facts, {4, std::nullopt});
    EXPECT_EQ(row.remedy.empty(), row.status == Status::ok);
    return row.status;
  };
  EXPECT_EQ(status_with(0), Status::problem);
  EXPECT_EQ(status_with(7), Status::problem);
  EXPECT_EQ(status_with(8), Status::warning);
  EXPECT_EQ(status_with(15), Status::warning);
  EXPECT_EQ(status_with(16), Status::ok);
  EXPECT_EQ(processes_row(facts, {4, std::nullopt}).value, "16 left by the limit of the container");
}

TEST(OpenFilesRow, CountsThreeForEachRankAndWhatIsOpen) {
  HostFacts facts = good_facts();
  facts.inherited_descriptors = 5;
  const auto status_at = [&](std::uint64_t limit) {
    facts.open_files = {limit, 4096};
    return open_files_row(facts, {8, std::nullopt}).status;
  };
  constexpr std::uint64_t kNeeded = 5 + 3 * 8 + 1;
  EXPECT_EQ(status_at(kNeeded - 1), Status::problem);
  EXPECT_EQ(status_at(kNeeded), Status::warning);
  EXPECT_EQ(status_at(kNeeded + 63), Status::warning);
  EXPECT_EQ(status_at(kNeeded + 64), Status::ok);
  EXPECT_THAT(open_files_row(facts, {8, std::nullopt}).meaning, HasSubstr("up to 30,"));
}

TEST(OpenFilesRow, TheRemedyKnowsTheHardLimit) {
  HostFacts facts = good_facts();
  facts.open_files = {20, 4096};
  EXPECT_EQ(open_files_row(facts, {8, std::nullopt}).remedy,
            "Raise it in the shell that starts the job: ulimit -n 92");
  facts.open_files = {20, 40};
  EXPECT_THAT(open_files_row(facts, {8, std::nullopt}).remedy, HasSubstr("administrator"));
  facts.open_files = {std::nullopt, std::nullopt};
  EXPECT_EQ(open_files_row(facts, {1024, std::nullopt}).status, Status::ok);
  EXPECT_EQ(open_files_row(facts, {1024, std::nullopt}).value, "unlimited");
}

TEST(AddressSpaceRow, EveryRankSetsAsideAllArenas) {
  HostFacts facts = good_facts();
  facts.own_address_bytes = 100 * kMib;
  // At least 1 GiB for each rank, else four times the arena.
  facts.address_space_bytes = {2 * kGib + 100 * kMib, std::nullopt};
  EXPECT_EQ(address_space_row(facts, {2, std::nullopt}, std::nullopt).status, Status::ok);
  EXPECT_EQ(address_space_row(facts, {2, 256 * kMib}, std::nullopt).status, Status::ok);
  EXPECT_EQ(address_space_row(facts, {3, std::nullopt}, std::nullopt).status, Status::problem);
  const Row row = address_space_row(facts, {2, 512 * kMib}, std::nullopt);
  EXPECT_EQ(row.status, Status::problem);
  EXPECT_THAT(row.meaning, HasSubstr("2.0 GiB of addresses"));
  EXPECT_THAT(row.remedy, HasSubstr("ulimit -v 5345280"));
}

TEST(AddressSpaceRow, WhatARankWasRefusedCounts) {
  const Row row = address_space_row(good_facts(), {2, std::nullopt}, "could not reserve");
  EXPECT_EQ(row.status, Status::problem);
  EXPECT_THAT(row.meaning, HasSubstr("refused: could not reserve."));
  EXPECT_THAT(row.remedy, HasSubstr("vm."));
  EXPECT_EQ(address_space_row(good_facts(), {2, std::nullopt}, std::nullopt).value, "unlimited");
}

TEST(FileSizeRow, TheLargestMemoryObjectMustFit) {
  HostFacts facts = good_facts();
  facts.file_bytes = {kGib, kGib};
  EXPECT_EQ(file_size_row(facts, {2, kGib}).status, Status::ok);
  const Row row = file_size_row(facts, {2, kGib + 1});
  EXPECT_EQ(row.status, Status::problem);
  EXPECT_THAT(row.meaning, HasSubstr("SIGXFSZ"));
  EXPECT_THAT(row.remedy, HasSubstr("ulimit -f 1048577"));
  facts.file_bytes = {host::ControlSegment::bytes_for(2) - 1, std::nullopt};
  EXPECT_EQ(file_size_row(facts, {2, std::nullopt}).status, Status::problem);
  EXPECT_EQ(file_size_row(facts, {1, std::nullopt}).status, Status::ok);
  facts.file_bytes = {};
  EXPECT_EQ(file_size_row(facts, {1024, std::uint64_t{1} << 46}).status, Status::ok);
}

TEST(LockedMemoryRow, DoesNotMatter) {
  HostFacts facts = good_facts();
  facts.locked_bytes = {0, 0};
  EXPECT_EQ(locked_memory_row(facts).status, Status::ok);
  EXPECT_EQ(locked_memory_row(facts).value, "0 B");
  EXPECT_THAT(locked_memory_row(facts).meaning, Not(IsEmpty()));
}

}  // namespace
}  // namespace cohort::check
