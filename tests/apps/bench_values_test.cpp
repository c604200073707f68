#include "bench_values.hpp"

#include <cstring>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bench_worker.hpp"

namespace cohort::bench {
namespace {

using testing::HasSubstr;

constexpr std::uint32_t kRanks = 3;

/// Rank 0 of three, the other two of which it plays itself; may get one byte of a result wrong.
class PlayedSubject final : public Subject {
 public:
  explicit PlayedSubject(std::ptrdiff_t wrong_byte) : wrong_byte_(wrong_byte) {
    input_.resize(1 << 16);
    output_.resize(1 << 16);
  }
  std::uint32_t rank() const override { return 0; }
  std::uint32_t rank_count() const override { return kRanks; }
  bool supports(const Job&) const override { return true; }
  Pools pools(const Job&) override { return {input_.data(), output_.data()}; }
  void begin(const Job& job) override { job_ = job; }
  void run(const std::byte* input, std::byte* output) override {
    const std::size_t bytes = input_bytes(job_, kRanks);
    std::vector<std::int32_t> sum(bytes / 4);
    std::memcpy(sum.data(), input, bytes);
    for (std::uint32_t rank = 1; rank < kRanks; ++rank) {
      std::vector<std::int32_t> other(bytes / 4);
      fill_operand(job_, rank, other.data(), bytes);
      for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += other[i];
    }
    if (job_.op == "all_reduce") std::memcpy(output, sum.data(), bytes);
    if (job_.op == "reduce_scatter") std::memcpy(output, sum.data(), bytes / kRanks);
    if (job_.op == "all_gather") {
      for (std::uint32_t rank = 0; rank < kRanks; ++rank) {
        fill_operand(job_, rank, output + rank * bytes, bytes);
      }
    }
    if (wrong_byte_ >= 0) output[wrong_byte_] ^= std::byte{1};
  }

 private:
  std::ptrdiff_t wrong_byte_;
  std::vector<std::byte> input_;
  std::vector<std::byte> output_;
  Job job_;
};

Job job_of(const std::string& op, std::size_t bytes) {
  return {op, "i32", bytes, false, true, 1, 42};
}

TEST(BenchVerify, ARightResultIsFine) {
  for (const char* op : {"all_reduce", "all_gather", "reduce_scatter", "broadcast", "barrier"}) {
    PlayedSubject subject(-1);
    EXPECT_EQ(verify(subject, job_of(op, 1200)), "") << op;
  }
}

TEST(BenchVerify, OneWrongElementIsFoundWhereverItLies) {
  for (const char* op : {"all_reduce", "all_gather", "reduce_scatter", "broadcast"}) {
    const Job job = job_of(op, 1200);
    for (std::size_t byte = 0; byte < output_bytes(job, kRanks); byte += 4) {
      PlayedSubject subject(static_cast<std::ptrdiff_t>(byte));
      EXPECT_THAT(verify(subject, job), HasSubstr("element " + std::to_string(byte / 4) + " is"))
          << op;
    }
  }
}

TEST(BenchVerify, WhatWasNeverWrittenIsWrongInEveryType) {
  for (const char* dtype : {"f32", "i32", "i64"}) {
    Job job = job_of("all_reduce", 64);
    job.dtype = dtype;
    std::vector<std::byte> result(64);
    poison(result.data(), result.size());
    EXPECT_THAT(check_result(job, 0, kRanks, result.data()), HasSubstr("element 0")) << dtype;
  }
}

TEST(BenchVerify, RoundingOfASumIsNoError) {
  Job job = job_of("all_reduce", 4096);
  job.dtype = "f32";
  std::vector<float> sum(1024);
  std::vector<float> operand(1024);
  for (std::uint32_t rank = kRanks; rank-- > 0;) {  // another order than any implementation's
    fill_operand(job, rank, operand.data(), 4096);
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += operand[i];
  }
  EXPECT_EQ(check_result(job, 1, kRanks, sum.data()), "");
  sum[7] += 1e-5F;
  EXPECT_THAT(check_result(job, 1, kRanks, sum.data()), HasSubstr("element 7"));
}

TEST(BenchVerify, ValuesChangeWithSeedAndRank) {
  std::vector<std::int32_t> first(64);
  std::vector<std::int32_t> second(64);
  Job job = job_of("all_reduce", 256);
  fill_operand(job, 0, first.data(), 256);
  fill_operand(job, 1, second.data(), 256);
  EXPECT_NE(first, second);
  job.seed = 43;
  fill_operand(job, 0, second.data(), 256);
  EXPECT_NE(first, second);
}

}  // namespace
}  // namespace cohort::bench
