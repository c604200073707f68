#include "check/host_facts.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "base/unique_fd.hpp"
#include "check/system_text.hpp"

namespace cohort::check {
namespace {

TEST(HostFacts, OfThisMachineAreThere) {
  const HostFacts facts = read_host_facts();
  EXPECT_TRUE(parse_kernel_version(facts.kernel_release)) << facts.kernel_release;
  EXPECT_GT(facts.clock_read_ns, 0);
  EXPECT_GE(facts.online_cpus, 1u);
  EXPECT_GE(facts.allowed_cpus, 1u);
  EXPECT_GE(facts.usable_cpus, 1u);
  EXPECT_LE(facts.usable_cpus, facts.allowed_cpus);
  EXPECT_LE(facts.allowed_cores, facts.allowed_cpus);
  EXPECT_LE(facts.allowed_nodes, facts.allowed_cpus);
  ASSERT_TRUE(facts.memory);
  EXPECT_GT(facts.memory->bytes, 0u);
  EXPECT_GT(facts.own_address_bytes, 0u);
  EXPECT_GE(facts.inherited_descriptors, 1u);
  EXPECT_EQ(facts.memfd.refused_errno, 0);
}

TEST(HostFacts, SeeALimitOfThisProcess) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit lowered = before;
  lowered.rlim_cur = 77;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &lowered), 0);
  const HostFacts facts = read_host_facts();
  ::setrlimit(RLIMIT_NOFILE, &before);
  EXPECT_EQ(facts.open_files.now, 77u);
  EXPECT_EQ(facts.open_files.max.has_value(), before.rlim_max != RLIM_INFINITY);
}

TEST(HostFacts, CountOnlyDescriptorsThatRanksInherit) {
  const std::uint32_t before = read_host_facts().inherited_descriptors;
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const UniqueFd read_end(ends[0]), write_end(ends[1]);
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd other_read_end(ends[0]), other_write_end(ends[1]);
  EXPECT_EQ(read_host_facts().inherited_descriptors, before + 2);
}

}  // namespace
}  // namespace cohort::check
