#include "support/nccl_log.hpp"

#include <gtest/gtest.h>

namespace cohort::test {
namespace {

constexpr const char* kLog =
    "host:1:2 [0] NCCL INFO NCCL version 2.28.9+cuda13.0\n"
    "host:1:2 [0] NCCL INFO AllReduce [Symmetric]: 2097152 Bytes -> Kernel "
    "AllReduce_RSxLD_AGxST nchannels 7 nthreads 512 nWorks 1\n"
    "host:1:2 [0] NCCL INFO AllGather: 4096 Bytes -> Algo RING proto LL channel{Lo..Hi}={0..3}\n"
    "host:1:2 [0] NCCL INFO Connected all rings, use ring PXN 0 GDR 1\n";

TEST(NcclLog, tells_symmetric_kernels_from_plain_ones) {
  const auto choices = parse_nccl_log(kLog);
  ASSERT_EQ(choices.size(), 2U);
  EXPECT_EQ(choices[0].function, "AllReduce");
  EXPECT_TRUE(choices[0].symmetric);
  EXPECT_EQ(choices[0].kernel, "AllReduce_RSxLD_AGxST");
  EXPECT_EQ(choices[1].function, "AllGather");
  EXPECT_FALSE(choices[1].symmetric);
  EXPECT_EQ(choices[1].kernel, "RING LL");
}

TEST(NcclLog, knows_nothing_of_other_lines) {
  EXPECT_FALSE(parse_nccl_tuning(""));
  EXPECT_FALSE(parse_nccl_tuning("NCCL INFO AllReduce: opCount 1 sendbuff 0x1 recvbuff 0x2"));
  EXPECT_FALSE(parse_nccl_tuning("NCCL INFO Something: 12 Bytes -> Algo RING"));
}

}  // namespace
}  // namespace cohort::test
