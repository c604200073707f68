#include "bench_options.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cohort/error.hpp>

#include "bench_job.hpp"

namespace cohort::bench {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::string refusal(const BenchFlags& flags) {
  try {
    static_cast<void>(read_bench_flags(flags));
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::usage);
    return error.what();
  }
  return "no error";
}

TEST(BenchOptions, SizesAreRangesByDoublingAndSingleOnes) {
  EXPECT_THAT(parse_byte_list("8..64", "bytes"), ElementsAre(8, 16, 32, 64));
  EXPECT_THAT(parse_byte_list("1Mi,4Ki,3000", "bytes"), ElementsAre(3000, 4096, 1 << 20));
  EXPECT_THAT(parse_byte_list("4KiB..16Ki,8Ki", "bytes"), ElementsAre(4096, 8192, 16384));
  EXPECT_THAT(parse_byte_list("8..20", "bytes"), ElementsAre(8, 16));
}

TEST(BenchOptions, TheDefaultsAreEverything) {
  const BenchOptions options = read_bench_flags({});
  EXPECT_EQ(options.bytes.front(), 8u);
  EXPECT_EQ(options.bytes.back(), std::size_t{8} << 20);
  EXPECT_THAT(options.ranks, ElementsAre(2));
  EXPECT_THAT(options.peers, ElementsAre("auto"));
  EXPECT_TRUE(options.heap && options.ordinary && options.warm && options.rotating);
}

TEST(BenchOptions, QuickTakesFewSizesUnlessTheyAreGiven) {
  BenchFlags flags;
  flags.quick = true;
  EXPECT_THAT(read_bench_flags(flags).bytes, ElementsAre(8, 4096, 256 * 1024));
  EXPECT_FALSE(read_bench_flags(flags).rotating);
  flags.bytes = "16";
  EXPECT_THAT(read_bench_flags(flags).bytes, ElementsAre(16));
  flags.buffers = "rotating";
  EXPECT_TRUE(read_bench_flags(flags).rotating);
}

TEST(BenchOptions, NoPeersIsAnEmptyList) {
  EXPECT_THAT(read_bench_flags({.peers = "none"}).peers, IsEmpty());
  EXPECT_THAT(read_bench_flags({.peers = "shm,gloo"}).peers, ElementsAre("shm", "gloo"));
}

TEST(BenchOptions, RanksGetThePathFlagsAsTheyWereGiven) {
  EXPECT_THAT(read_bench_flags({}).rank_arguments, IsEmpty());
  EXPECT_THAT(read_bench_flags({.paths = {.path = "host_direct"}}).rank_arguments,
              ElementsAre("--path", "host_direct"));
}

TEST(BenchOptions, EachRefusalNamesItsFlagAndWhatItTakes) {
  EXPECT_THAT(refusal({.ops = "all_reduce,gather"}),
              AllOf(HasSubstr("--ops"), HasSubstr("'gather'"), HasSubstr("reduce_scatter")));
  EXPECT_THAT(refusal({.ops = ","}), HasSubstr("--ops"));
  for (const char* ranks : {"1", "x", "2,", "65", "-2", "2x"}) {
    EXPECT_THAT(refusal({.ranks = ranks}), HasSubstr("--ranks")) << ranks;
  }
  for (const char* bytes :
       {"0", "8..4", "8..", "..8", "-8", "8k", "257Mi", "1Gi", "", "99999999999999999999"}) {
    EXPECT_THAT(refusal({.bytes = bytes}), HasSubstr("--bytes")) << bytes;
  }
  EXPECT_THAT(refusal({.dtype = "f64"}), AllOf(HasSubstr("--dtype"), HasSubstr("f32")));
  EXPECT_THAT(refusal({.peers = "nccl"}), AllOf(HasSubstr("--peers"), HasSubstr("openmpi")));
  EXPECT_THAT(refusal({.operands = "stack"}), HasSubstr("--operands"));
  EXPECT_THAT(refusal({.buffers = "cold"}), HasSubstr("--buffers"));
  EXPECT_THAT(refusal({.against = "/no/such/program"}), HasSubstr("--against"));
  EXPECT_THAT(refusal({.rounds = 0}), HasSubstr("--rounds"));
  EXPECT_THAT(refusal({.seconds = 0}), HasSubstr("--seconds"));
  EXPECT_THAT(refusal({.ops = "broadcast,host", .in_place = true}), HasSubstr("--in-place"));
  EXPECT_THAT(refusal({.paths = {.path = "host_direct", .table_file = "t.json"}}),
              HasSubstr("--path contradicts --path-table"));
}

TEST(BenchJob, ALineReadsBackAsTheJobItCameFrom) {
  for (const bool in_place : {false, true}) {
    const Job job{"all_gather", "i64", 4096, true, false, in_place, 17, 99};
    EXPECT_EQ(parse_job(to_line(job)), job);
  }
  for (const char* line :
       {"", "all_reduce", "all_reduce f32 8 warm heap apart 1", "a f32 x warm heap apart 1 1",
        "a f32 8 cold heap apart 1 1", "a f32 8 warm stack apart 1 1", "a f9 8 warm heap apart 1 1",
        "a f32 8 warm heap beside 1 1"}) {
    EXPECT_THROW(parse_job(line), std::invalid_argument) << line;
  }
}

TEST(BenchJob, SizesAreWholeElementsOnEveryRank) {
  EXPECT_EQ(rounded_bytes("all_reduce", "f32", 8, 4), 8u);
  EXPECT_EQ(rounded_bytes("all_gather", "f32", 8, 4), 16u);
  EXPECT_EQ(rounded_bytes("reduce_scatter", "i64", 100, 3), 120u);
  EXPECT_EQ(rounded_bytes("barrier", "f32", 100, 3), 0u);
  EXPECT_EQ(rounded_bytes("agreement", "f32", 100, 3), 256u);
}

TEST(BenchJob, BytesThatARankMustReceive) {
  Job job;
  job.bytes = 4096;
  EXPECT_EQ(received_bytes(job, 2), 4096u);
  EXPECT_EQ(received_bytes(job, 4), 6144u);
  job.op = "all_gather";
  EXPECT_EQ(received_bytes(job, 4), 3072u);
}

TEST(BenchOptions, GpusAreMeasuredAloneInGraphs) {
  const BenchOptions options = read_bench_flags({.device = "cuda", .ops = "all_reduce"});
  EXPECT_EQ(options.memory, Memory::cuda);
  EXPECT_THAT(options.peers, IsEmpty());
  EXPECT_TRUE(options.heap && options.warm);
  EXPECT_FALSE(options.ordinary || options.rotating);
  EXPECT_THAT(options.rank_arguments, ElementsAre("--device", "cuda"));
  EXPECT_THAT(refusal({.device = "cuda", .peers = "gloo"}), HasSubstr("--peers is none"));
  EXPECT_THAT(refusal({.device = "cuda", .operands = "ordinary"}), HasSubstr("--operands is heap"));
  EXPECT_THAT(refusal({.device = "cuda", .buffers = "rotating"}), HasSubstr("--buffers is warm"));
  EXPECT_THAT(refusal({.device = "tpu"}), HasSubstr("takes host or cuda"));
}

}  // namespace
}  // namespace cohort::bench
