// How fast are host reductions, for each element type, operation and number of inputs?
//
// Bound: operands that fit the first cache are read at up to two vectors a cycle (128 bytes with
// AVX-512), those in the second cache at about half of that; beyond the last cache, memory is the
// bound. Reported is what is read per second: inputs only, `out` is not counted.

#include <benchmark/benchmark.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <cohort/dtype.hpp>
#include <cohort/verdict.hpp>

#include "collectives/host/reduce.hpp"

namespace {

// Numbers near one in each type: speed does not depend on the values, but sums should not overflow
// into infinities that nobody reduces in practice.
std::vector<std::byte> make_operand(cohort::DType dtype, std::size_t bytes, std::uint32_t seed) {
  std::minstd_rand random(seed);
  std::vector<std::byte> operand(bytes);
  for (std::size_t at = 0; at + 4 <= bytes; at += 4) {
    auto word = static_cast<std::uint32_t>(random());
    if (dtype == cohort::DType::f32) word = 0x3f000000 | (word & 0x00ffffff);
    if (dtype == cohort::DType::bf16) word = 0x3f003f00 | (word & 0x00ff00ff);
    std::memcpy(&operand[at], &word, sizeof word);
  }
  return operand;
}

void run(benchmark::State& state, cohort::DType dtype, cohort::ReduceOp op) {
  const auto input_count = static_cast<std::size_t>(state.range(0));
  const auto bytes = static_cast<std::size_t>(state.range(1));
  std::vector<std::vector<std::byte>> operands;
  std::vector<const std::byte*> inputs;
  for (std::size_t input = 0; input < input_count; ++input) {
    operands.push_back(make_operand(dtype, bytes, static_cast<std::uint32_t>(input + 1)));
    inputs.push_back(operands.back().data());
  }
  std::vector<std::byte> out(bytes);
  const std::size_t elements = bytes / cohort::bytes_of(dtype);
  for (auto _ : state) {
    cohort::host::reduce(inputs, out.data(), elements, dtype, op);
    benchmark::DoNotOptimize(out.data());
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(input_count * bytes));
}

void register_all() {
  using cohort::DType;
  using cohort::ReduceOp;
  for (const DType dtype : cohort::all_dtypes()) {
    if (!is_reducible(dtype)) continue;
    for (const auto& [op, op_name] :
         {std::pair{ReduceOp::sum, "/sum"}, {ReduceOp::min, "/min"}, {ReduceOp::max, "/max"}}) {
      const std::string name = "reduce/" + std::string(to_string(dtype)) + op_name;
      benchmark::RegisterBenchmark(name.c_str(), run, dtype, op)
          ->ArgNames({"inputs", "bytes"})
          ->ArgsProduct({{2, 3, 4, 8}, {256, 32 << 10, 4 << 20}});
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::AddCustomContext("instruction_set",
                              std::string(cohort::host::reduce_instruction_set()));
  register_all();
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
