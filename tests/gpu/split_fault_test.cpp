// Algorithm::split when peers are late, differ or have failed, and calls that it refuses.

#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

#include "gpu/split_fixture.hpp"

namespace cohort::test {
namespace {

class GpuSplitFaults : public SplitTest {
 protected:
  void launch(DeviceGroup& group, std::uint32_t member, std::uint64_t hash_change,
              const Operand& input, const Operand& output) {
    const SplitShape shape{.bytes = 65536};
    cuda::KernelCall call = make_call(group, shape, member);
    call.deadline_ns = 300'000'000;
    call.hash ^= hash_change;
    call.input = input.address();
    call.output = output.address();
    check(api_->launch(group.device(member), &call), "launch");
  }

  static bool is_all_nan(const Operand& output) {
    const Bytes content = output.read();
    for (std::size_t at = 0; at < content.size(); at += 2) {
      if (content[at] != std::byte{0xc0} || content[at + 1] != std::byte{0x7f}) return false;
    }
    return true;
  }
};

TEST_F(GpuSplitFaults, AnotherCallOnThePeerIsAMismatchOnBoth) {
  DeviceGroup group(*api_, 2, 65536);
  std::vector<Operand> inputs;
  std::vector<Operand> outputs;
  for (std::uint32_t member = 0; member < 2; ++member) {
    inputs.emplace_back(group.device_of(member), 65536);
    outputs.emplace_back(group.device_of(member), 65536);
    outputs.back().poison();
  }
  for (std::uint32_t member = 0; member < 2; ++member) {
    launch(group, member, member, inputs[member], outputs[member]);
  }
  group.wait();
  int mismatches = 0;
  for (std::uint32_t member = 0; member < 2; ++member) {
    const cuda::FaultRecord fault = group.fault(member);
    EXPECT_EQ(fault.complete, 1U);
    // Whoever finds it first tells the other.
    if (fault.kind == cuda::FaultRecord::Kind::mismatch) {
      ++mismatches;
      EXPECT_EQ(fault.own_hash ^ fault.their_hash, 1U);
      EXPECT_EQ(fault.member, 1 - member);
    } else {
      EXPECT_EQ(fault.kind, cuda::FaultRecord::Kind::poisoned);
    }
    EXPECT_TRUE(is_all_nan(outputs[member]));
    EXPECT_TRUE(outputs[member].is_intact());
  }
  EXPECT_GE(mismatches, 1);
}

TEST_F(GpuSplitFaults, AMissingPeerEndsTheCallAtTheDeadline) {
  DeviceGroup group(*api_, 2, 65536);
  const Operand input(group.device_of(0), 65536);
  Operand output(group.device_of(0), 65536);
  output.poison();
  launch(group, 0, 0, input, output);
  group.wait();
  const cuda::FaultRecord fault = group.fault(0);
  EXPECT_EQ(fault.complete, 1U);
  EXPECT_EQ(fault.kind, cuda::FaultRecord::Kind::deadline);
  EXPECT_EQ(fault.member, 1U);
  EXPECT_GE(fault.waited_ns, 300'000'000U);
  EXPECT_TRUE(is_all_nan(output));
  // The peer that comes late finds itself poisoned and does not wait.
  const Operand late_input(group.device_of(1), 65536);
  Operand late_output(group.device_of(1), 65536);
  late_output.poison();
  launch(group, 1, 0, late_input, late_output);
  group.wait();
  EXPECT_EQ(group.fault(1).kind, cuda::FaultRecord::Kind::poisoned);
  EXPECT_TRUE(is_all_nan(late_output));
}

TEST_F(GpuSplitFaults, PoisonReachesACallThatWaits) {
  DeviceGroup group(*api_, 2, 65536);
  const Operand input(group.device_of(0), 65536);
  Operand output(group.device_of(0), 65536);
  output.poison();
  cuda::KernelCall call = make_call(group, SplitShape{.bytes = 65536}, 0);
  call.deadline_ns = 30'000'000'000;
  call.input = input.address();
  call.output = output.address();
  check(api_->launch(group.device(0), &call), "launch");
  check(api_->poke(group.device(0), group.arena(0), 1), "poke");
  group.wait();
  EXPECT_EQ(group.fault(0).kind, cuda::FaultRecord::Kind::poisoned);
  EXPECT_TRUE(is_all_nan(output));
}

TEST_F(GpuSplitFaults, AnotherGenerationIsAFault) {
  DeviceGroup group(*api_, 2, 65536);
  const Operand input(group.device_of(0), 65536);
  Operand output(group.device_of(0), 65536);
  cuda::KernelCall call = make_call(group, SplitShape{.bytes = 65536}, 0);
  call.generation += 1;
  call.input = input.address();
  call.output = output.address();
  check(api_->launch(group.device(0), &call), "launch");
  group.wait();
  EXPECT_EQ(group.fault(0).kind, cuda::FaultRecord::Kind::stale_generation);
  EXPECT_TRUE(is_all_nan(output));
}

TEST_F(GpuSplitFaults, RefusesWhatDoesNotFit) {
  DeviceGroup group(*api_, 2, 65536);
  SplitShape shape{.bytes = 65536 + 512};
  const cuda::KernelCall too_large = make_call(group, shape, 0);
  EXPECT_EQ(api_->launch(group.device(0), &too_large).code, cuda::Status::Code::usage);
  shape = {.bytes = 1024, .threads = 96};
  const cuda::KernelCall odd_threads = make_call(group, shape, 0);
  EXPECT_EQ(api_->launch(group.device(0), &odd_threads).code, cuda::Status::Code::usage);
}

}  // namespace
}  // namespace cohort::test
