// The kernels that push once, on devices: every operation and type, bit by bit, and every fault.

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <random>

#include <gtest/gtest.h>

#include "gpu/kernel_case.hpp"
#include "gpu/plugin_fixture.hpp"
#include "support/golden_reductions.hpp"

namespace cohort::test {
namespace {

using cuda::Algorithm;
using cuda::FaultRecord;
using cuda::Protocol;

constexpr std::uint64_t kDataBytes = 4 << 20;

// Streams that share a hardware queue wait for each other, and ranks that do so for ever.
const int kConnections = setenv("CUDA_DEVICE_MAX_CONNECTIONS", "32", 0);

class KernelTest : public PluginTest {
 protected:
  DeviceGroup& group(std::uint32_t members, std::uint64_t data_bytes = kDataBytes) {
    if (group_ == nullptr || group_->members() != members) {
      group_.reset();
      group_ = std::make_unique<DeviceGroup>(*api_, members, data_bytes);
    }
    return *group_;
  }

  void run(DeviceGroup& group, const KernelCase& test) {
    CaseRun run(group, test, ++seed_);
    run.launch(*api_);
    group.wait();
    const std::string wrong = run.what_is_wrong();
    ASSERT_EQ(wrong, "");
    ++runs_;
  }

  void TearDown() override { RecordProperty("runs", static_cast<int>(runs_)); }

  std::unique_ptr<DeviceGroup> group_;
  std::uint64_t seed_ = 0;
  std::uint64_t runs_ = 0;
};

constexpr DType kReducible[] = {DType::f32, DType::bf16, DType::f16,
                                DType::i32, DType::i64,  DType::u8};
constexpr ReduceOp kReductions[] = {ReduceOp::sum, ReduceOp::min, ReduceOp::max};
constexpr std::uint32_t kGroupSizes[] = {2, 3, 4, 5, 7, 8};

/// Sizes around a line, a chunk and a block, none and odd ones.
std::vector<std::uint64_t> sizes_of(DType dtype) {
  const std::uint64_t line = 16 / bytes_of(dtype);
  return {0, 1, line, line + 1, 32 * line, 33 * line - 1, 200 * line + 3};
}

TEST_F(KernelTest, reductions_have_the_bits_of_the_host) {
  for (const std::uint32_t members : kGroupSizes) {
    DeviceGroup& ranks = group(members);
    for (const DType dtype : kReducible) {
      for (const ReduceOp op : kReductions) {
        for (const std::uint64_t elements : sizes_of(dtype)) {
          for (const Op collective : {Op::all_reduce, Op::reduce_scatter}) {
            KernelCase test{.op = collective, .reduce_op = op, .dtype = dtype};
            test.elements = elements;
            run(ranks, test);
            if (elements * bytes_of(dtype) <= 4096) {
              test.protocol = Protocol::flags;
              run(ranks, test);
            }
            test.protocol = Protocol::sentinel;
            test.algorithm = Algorithm::two_shot;
            if (collective == Op::all_reduce) run(ranks, test);
            if (HasFatalFailure()) return;
          }
        }
      }
    }
    ASSERT_EQ(ranks.what_is_left(), "");
  }
}

TEST_F(KernelTest, moves_bring_every_byte) {
  for (const std::uint32_t members : kGroupSizes) {
    DeviceGroup& ranks = group(members);
    for (const DType dtype : {DType::u8, DType::bf16, DType::f8e4m3, DType::i64}) {
      for (const std::uint64_t elements : sizes_of(dtype)) {
        for (const Op op : {Op::all_gather, Op::broadcast, Op::all_to_all, Op::barrier}) {
          for (const Protocol protocol : {Protocol::sentinel, Protocol::flags}) {
            KernelCase test{.op = op, .dtype = dtype, .protocol = protocol};
            test.elements = op == Op::barrier ? 0 : elements;
            test.root = static_cast<std::uint32_t>(seed_ % members);
            if (protocol == Protocol::flags && elements * bytes_of(dtype) > 4096) continue;
            run(ranks, test);
            if (HasFatalFailure()) return;
          }
        }
      }
    }
    ASSERT_EQ(ranks.what_is_left(), "");
  }
}

TEST_F(KernelTest, counts_may_differ_by_member) {
  std::mt19937_64 random(1);
  for (const std::uint32_t members : kGroupSizes) {
    DeviceGroup& ranks = group(members);
    for (int round = 0; round < 12; ++round) {
      for (const Op op : {Op::all_gatherv, Op::reduce_scatterv, Op::all_to_allv}) {
        KernelCase test{.op = op, .dtype = kReducible[random() % 6]};
        const std::size_t counts = op == Op::all_to_allv ? members * members : members;
        for (std::size_t k = 0; k < counts; ++k) {
          test.counts.push_back(random() % 3 == 0 ? 0 : random() % (round % 2 == 0 ? 250 : 4000));
        }
        test.threads = 32U << random() % 5;
        test.input_shift = random() % 3;
        test.output_shift = random() % 4;
        run(ranks, test);
        if (HasFatalFailure()) return;
      }
    }
    ASSERT_EQ(ranks.what_is_left(), "");
  }
}

TEST_F(KernelTest, any_address_of_an_element_will_do_and_calls_in_place) {
  std::mt19937_64 random(2);
  for (const std::uint32_t members : {2U, 3U, 8U}) {
    DeviceGroup& ranks = group(members);
    for (const DType dtype : kReducible) {
      for (int round = 0; round < 8; ++round) {
        for (const Op op : {Op::all_reduce, Op::reduce_scatter, Op::all_gather, Op::broadcast}) {
          KernelCase test{.op = op, .dtype = dtype};
          test.elements = random() % 3000;
          test.threads = 128;
          test.input_shift = random() % 16;
          test.output_shift = random() % 16;
          test.in_place = round % 2 == 1;
          if (test.in_place && round % 4 == 1) test.output_shift = 0;
          if (op == Op::all_reduce && round >= 4) test.algorithm = Algorithm::two_shot;
          run(ranks, test);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

TEST_F(KernelTest, two_lines_a_thread_and_many_blocks) {
  DeviceGroup& ranks = group(2);
  for (const std::uint32_t lines : {1U, 2U}) {
    for (const std::uint64_t bytes : {16384U, 131072U, 131088U, 1048576U, 1048560U}) {
      for (const Op op : {Op::all_reduce, Op::reduce_scatter, Op::all_gather, Op::all_to_all}) {
        for (const DType dtype : {DType::bf16, DType::i32}) {
          KernelCase test{.op = op, .dtype = dtype, .lines_per_thread = lines};
          test.elements = bytes / bytes_of(dtype);
          test.threads = bytes > 200000 ? 256 : 64;
          run(ranks, test);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
  ASSERT_EQ(ranks.what_is_left(), "");
}

TEST_F(KernelTest, large_groups_go_in_steps) {
  for (const std::uint32_t members : {9U, 15U, 16U}) {
    DeviceGroup& ranks = group(members);
    for (const DType dtype : {DType::f32, DType::bf16, DType::u8}) {
      for (const Op op : {Op::all_reduce, Op::reduce_scatter, Op::all_gather, Op::all_to_all,
                          Op::broadcast, Op::barrier}) {
        for (const Algorithm algorithm : {Algorithm::once, Algorithm::two_shot}) {
          if (algorithm == Algorithm::two_shot && op != Op::all_reduce) continue;
          KernelCase test{.op = op, .dtype = dtype, .algorithm = algorithm};
          test.elements = op == Op::barrier ? 0 : 999;
          test.root = members - 1;
          run(ranks, test);
          if (HasFatalFailure()) return;
        }
      }
    }
    ASSERT_EQ(ranks.what_is_left(), "");
  }
}

TEST_F(KernelTest, golden_reductions) {
  for (const GoldenReduction& golden : golden_reductions()) {
    const auto members = static_cast<std::uint32_t>(golden.operands.size());
    if (members < 2) continue;
    DeviceGroup& ranks = group(members);
    for (const ReduceOp op : kReductions) {
      std::vector<Operand> inputs;
      std::vector<Operand> outputs;
      const std::uint64_t bytes = golden.elements * bytes_of(golden.dtype);
      for (std::uint32_t member = 0; member < members; ++member) {
        inputs.emplace_back(ranks.device_of(member), bytes);
        inputs.back().write(golden.operands[member]);
        outputs.emplace_back(ranks.device_of(member), bytes);
      }
      for (std::uint32_t member = 0; member < members; ++member) {
        cuda::KernelCall call = ranks.call(member);
        call.op = Op::all_reduce;
        call.reduce_op = op;
        call.dtype = golden.dtype;
        call.protocol = Protocol::sentinel;
        call.bytes = bytes;
        call.blocks = 1;
        call.threads = 64;
        call.lines_per_thread = 1;
        call.input = inputs[member].address();
        call.output = outputs[member].address();
        check(api_->launch(ranks.device(member), &call), "launch");
      }
      ranks.wait();
      for (std::uint32_t member = 0; member < members; ++member) {
        EXPECT_EQ(outputs[member].read(), golden.result(op)) << golden.name();
      }
    }
  }
}

TEST_F(KernelTest, another_hash_is_a_mismatch_on_all) {
  for (const Algorithm algorithm : {Algorithm::once, Algorithm::two_shot}) {
    for (const Op op : {Op::all_reduce, Op::all_gather}) {
      if (algorithm == Algorithm::two_shot && op != Op::all_reduce) continue;
      DeviceGroup& ranks = group(3);
      CaseRun run(ranks, {.op = op, .algorithm = algorithm, .threads = 64, .elements = 5000}, 1);
      for (std::uint32_t member = 0; member < 3; ++member) {
        cuda::KernelCall call = run.call(member);
        if (member == 1) call.hash ^= std::uint64_t{1} << 40;
        check(api_->launch(ranks.device(member), &call), "launch");
      }
      ranks.wait();
      for (std::uint32_t member = 0; member < 3; ++member) {
        const FaultRecord fault = ranks.fault(member);
        EXPECT_EQ(fault.complete, 1U);
        EXPECT_TRUE(run.is_invalid(member)) << member;
        if (fault.kind == FaultRecord::Kind::poisoned) continue;  // a peer was faster
        EXPECT_EQ(fault.kind, FaultRecord::Kind::mismatch);
        EXPECT_NE(fault.own_hash, fault.their_hash);
        EXPECT_EQ(fault.channel, 3U);
      }
      ranks.reset();
    }
  }
}

TEST_F(KernelTest, a_missing_member_is_named_after_the_deadline) {
  DeviceGroup& ranks = group(3);
  CaseRun run(ranks, {.op = Op::all_reduce, .elements = 5000}, 1);
  for (const std::uint32_t member : {0U, 2U}) {
    cuda::KernelCall call = run.call(member);
    call.deadline_ns = 300'000'000;
    check(api_->launch(ranks.device(member), &call), "launch");
  }
  ranks.wait();
  bool named = false;
  for (const std::uint32_t member : {0U, 2U}) {
    const FaultRecord fault = ranks.fault(member);
    ASSERT_EQ(fault.complete, 1U);
    EXPECT_TRUE(run.is_invalid(member));
    if (fault.kind == FaultRecord::Kind::poisoned) continue;
    EXPECT_EQ(fault.kind, FaultRecord::Kind::deadline);
    EXPECT_EQ(fault.member, 1U);
    EXPECT_GE(fault.waited_ns, 300'000'000U);
    named = true;
  }
  EXPECT_TRUE(named);
  // The late one finds itself poisoned, though all its data have come.
  const cuda::KernelCall late = run.call(1);
  check(api_->launch(ranks.device(1), &late), "launch");
  ranks.wait();
  EXPECT_EQ(ranks.fault(1).kind, FaultRecord::Kind::poisoned);
  EXPECT_TRUE(run.is_invalid(1));
}

TEST_F(KernelTest, poison_ends_a_kernel_that_waits) {
  DeviceGroup& ranks = group(2);
  CaseRun run(ranks, {.op = Op::all_gather, .dtype = DType::u8, .elements = 100}, 1);
  const cuda::KernelCall call = run.call(0);
  check(api_->launch(ranks.device(0), &call), "launch");
  check(api_->poke(ranks.device(0), ranks.arena(0), 1), "poke");
  ranks.wait();
  EXPECT_EQ(ranks.fault(0).kind, FaultRecord::Kind::poisoned);
  EXPECT_TRUE(run.is_invalid(0));
}

TEST_F(KernelTest, a_call_of_an_older_plan_is_a_fault) {
  DeviceGroup& ranks = group(2);
  CaseRun run(ranks, {.op = Op::all_reduce, .elements = 100}, 1);
  cuda::KernelCall call = run.call(0);
  ++call.generation;
  check(api_->launch(ranks.device(0), &call), "launch");
  ranks.wait();
  EXPECT_EQ(ranks.fault(0).kind, FaultRecord::Kind::stale_generation);
  EXPECT_TRUE(run.is_invalid(0));
}

TEST_F(KernelTest, calls_and_bytes_are_counted) {
  DeviceGroup& ranks = group(2);
  const std::uint64_t before = ranks.tally(0).calls;
  for (int k = 0; k < 10; ++k) run(ranks, {.op = Op::all_reduce, .elements = 1000});
  EXPECT_EQ(ranks.tally(0).calls, before + 10);
  EXPECT_EQ(ranks.tally(1).bytes, ranks.tally(1).calls * ranks.call(1).tally_bytes);
}

TEST_F(KernelTest, what_does_not_fit_is_refused) {
  DeviceGroup& ranks = group(2);
  CaseRun run(ranks, {.op = Op::all_reduce, .elements = 5000}, 1);
  cuda::KernelCall call = run.call(0);
  call.blocks = 1;
  EXPECT_EQ(api_->launch(ranks.device(0), &call).code, cuda::Status::Code::usage);
  call = run.call(0);
  call.map.data_bytes = 512;
  EXPECT_EQ(api_->launch(ranks.device(0), &call).code, cuda::Status::Code::usage);
  call = run.call(0);
  call.dtype = DType::f8e4m3;
  EXPECT_EQ(api_->launch(ranks.device(0), &call).code, cuda::Status::Code::unsupported);
}

}  // namespace
}  // namespace cohort::test
