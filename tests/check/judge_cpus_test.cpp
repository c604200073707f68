#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "check/facts.hpp"
#include "check/judge.hpp"

namespace cohort::check {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

HostFacts with_cpus(std::uint32_t online, std::uint32_t allowed, std::uint32_t usable,
                    std::uint32_t cores) {
  HostFacts facts = good_facts();
  facts.online_cpus = online;
  facts.allowed_cpus = allowed;
  facts.usable_cpus = usable;
  facts.allowed_cores = cores;
  return facts;
}

TEST(CpusRow, AsManyRanksAsCpusAreWell) {
  const HostFacts facts = with_cpus(8, 8, 8, 8);
  for (const std::uint32_t ranks : {1U, 2U, 8U}) {
    const Row row = cpus_row(facts, {ranks, std::nullopt});
    EXPECT_EQ(row.status, Status::ok) << ranks;
    EXPECT_THAT(row.remedy, IsEmpty());
  }
  EXPECT_EQ(cpus_row(facts, {2, std::nullopt}).value, "8 usable CPUs, for 2 ranks");
  EXPECT_EQ(cpus_row(with_cpus(1, 1, 1, 1), {1, std::nullopt}).value, "1 usable CPU, for 1 rank");
}

TEST(CpusRow, MoreRanksThanCpusAreWarnedOf) {
  const Row row = cpus_row(with_cpus(8, 8, 8, 8), {9, std::nullopt});
  EXPECT_EQ(row.status, Status::warning);
  EXPECT_THAT(row.meaning, HasSubstr("take turns"));
  EXPECT_THAT(row.remedy, HasSubstr("at most 8 ranks"));
}

TEST(CpusRow, NamesAffinityAndQuota) {
  EXPECT_EQ(cpus_row(with_cpus(64, 16, 4, 16), {4, std::nullopt}).value,
            "4 usable CPUs by a quota, 16 by affinity, of 64 of the machine, for 4 ranks");
  EXPECT_EQ(cpus_row(with_cpus(64, 16, 16, 16), {4, std::nullopt}).value,
            "16 usable CPUs, of 64 of the machine, for 4 ranks");
}

TEST(CoresRow, RanksThatMustShareACoreAreWarnedOf) {
  const HostFacts facts = with_cpus(8, 8, 8, 4);
  EXPECT_EQ(cores_row(facts, {4, std::nullopt}).status, Status::ok);
  EXPECT_THAT(cores_row(facts, {4, std::nullopt}).meaning, HasSubstr("taskset"));
  const Row row = cores_row(facts, {5, std::nullopt});
  EXPECT_EQ(row.status, Status::warning);
  EXPECT_EQ(row.value, "8 CPUs on 4 cores");
  EXPECT_THAT(row.remedy, HasSubstr("at most 4 ranks"));
}

TEST(CoresRow, NothingIsSharedWhereEachCpuIsACore) {
  const Row row = cores_row(with_cpus(8, 8, 8, 8), {8, std::nullopt});
  EXPECT_EQ(row.status, Status::ok);
  EXPECT_EQ(row.meaning, "No two CPUs share a core.");
  // Ranks beyond the CPUs are the matter of another row.
  EXPECT_EQ(cores_row(with_cpus(8, 8, 8, 8), {9, std::nullopt}).status, Status::ok);
}

TEST(CoresRow, MayBeUnknown) {
  const Row row = cores_row(with_cpus(8, 8, 8, 0), {8, std::nullopt});
  EXPECT_EQ(row.value, "unknown");
  EXPECT_EQ(row.status, Status::ok);
}

TEST(MemoryNodesRow, RanksAreToBeBoundWhereThereAreSeveral) {
  HostFacts facts = good_facts();
  EXPECT_EQ(memory_nodes_row(facts, {2, std::nullopt}, 0).status, Status::ok);
  EXPECT_EQ(memory_nodes_row(facts, {2, std::nullopt}, 0).value, "1 node");
  facts.allowed_nodes = 2;
  const Row unbound = memory_nodes_row(facts, {4, std::nullopt}, 3);
  EXPECT_EQ(unbound.status, Status::warning);
  EXPECT_EQ(unbound.value, "2 nodes, 3 of 4 ranks bound");
  EXPECT_THAT(unbound.remedy, HasSubstr("numactl"));
  EXPECT_EQ(memory_nodes_row(facts, {4, std::nullopt}, 4).status, Status::ok);
  facts.allowed_nodes = 0;
  EXPECT_EQ(memory_nodes_row(facts, {4, std::nullopt}, 0).value, "unknown");
}

}  // namespace
}  // namespace cohort::check
