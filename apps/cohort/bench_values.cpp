#include "bench_values.hpp"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstring>

namespace cohort::bench {
namespace {

std::uint64_t mixed(std::uint64_t value) noexcept {  // the finaliser of splitmix64
  value += 0x9e3779b97f4a7c15U;
  value = (value ^ (value >> 30U)) * 0xbf58476d1ce4e5b9U;
  value = (value ^ (value >> 27U)) * 0x94d049bb133111ebU;
  return value ^ (value >> 31U);
}

std::uint64_t word_at(const Job& job, std::uint32_t rank, std::size_t index) noexcept {
  return mixed(mixed(job.seed * 1024 + rank) + index);
}

template <typename T>
T value_at(const Job& job, std::uint32_t rank, std::size_t index) noexcept {
  const std::uint64_t word = word_at(job, rank, index);
  if constexpr (std::is_floating_point_v<T>) {
    return static_cast<T>(static_cast<std::int32_t>(word >> 40U) - (1 << 23)) /
           static_cast<T>(1 << 23);
  } else {
    return static_cast<T>(static_cast<std::int64_t>(word % 2000) - 1000);
  }
}

template <typename T>
void fill(const Job& job, std::uint32_t rank, void* data, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes / sizeof(T); ++i) {
    const T value = value_at<T>(job, rank, i);
    std::memcpy(static_cast<char*>(data) + i * sizeof(T), &value, sizeof(T));
  }
}

/// A right result and how far from it rounding may lead.
struct Expected {
  double value = 0;
  double tolerance = 0;
};

template <typename T>
Expected expected_at(const Job& job, std::uint32_t rank, std::uint32_t ranks, std::size_t index) {
  if (job.op == "broadcast") return {static_cast<double>(value_at<T>(job, 0, index)), 0};
  if (job.op == "all_gather") {
    const std::size_t part = job.bytes / ranks / sizeof(T);
    return {static_cast<double>(
                value_at<T>(job, static_cast<std::uint32_t>(index / part), index % part)),
            0};
  }
  if (job.op == "reduce_scatter") index += job.bytes / ranks / sizeof(T) * rank;
  Expected expected{job.op == "agreement" ? HUGE_VAL : 0.0, 0};
  double magnitude = 0;
  for (std::uint32_t other = 0; other < ranks; ++other) {
    const auto value = static_cast<double>(value_at<T>(job, other, index));
    if (job.op == "agreement") {
      expected.value = std::min(expected.value, value);
    } else {
      expected.value += value;
      magnitude += std::fabs(value);
    }
  }
  if (std::is_floating_point_v<T>) expected.tolerance = magnitude * FLT_EPSILON * (ranks - 1);
  return expected;
}

template <typename T>
std::string check(const Job& job, std::uint32_t rank, std::uint32_t ranks, const void* result) {
  for (std::size_t i = 0; i < output_bytes(job, ranks) / sizeof(T); ++i) {
    T value;
    std::memcpy(&value, static_cast<const char*>(result) + i * sizeof(T), sizeof(T));
    const Expected expected = expected_at<T>(job, rank, ranks, i);
    // The negated comparison also finds NaN.
    if (std::fabs(static_cast<double>(value) - expected.value) <= expected.tolerance) continue;
    return "element " + std::to_string(i) + " is " + std::to_string(value) + " instead of " +
           std::to_string(expected.value);
  }
  return "";
}

}  // namespace

void fill_operand(const Job& job, std::uint32_t rank, void* data, std::size_t bytes) {
  if (job.dtype == "f32") return fill<float>(job, rank, data, bytes);
  if (job.dtype == "i32") return fill<std::int32_t>(job, rank, data, bytes);
  fill<std::int64_t>(job, rank, data, bytes);
}

void poison(void* data, std::size_t bytes) {
  // 0xfe everywhere is far outside what operands can sum up to, as a float and as an integer.
  if (bytes != 0) std::memset(data, 0xfe, bytes);
}

std::string check_result(const Job& job, std::uint32_t rank, std::uint32_t ranks,
                         const void* result) {
  if (!has_result(job.op)) return "";
  if (job.dtype == "f32") return check<float>(job, rank, ranks, result);
  if (job.dtype == "i32") return check<std::int32_t>(job, rank, ranks, result);
  return check<std::int64_t>(job, rank, ranks, result);
}

}  // namespace cohort::bench
