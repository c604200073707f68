#pragma once

// One call of a kernel on every member of a group, with random operands, checked bit by bit.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "backend/cuda/abi.hpp"
#include "gpu/device_group.hpp"

namespace cohort::test {

struct KernelCase {
  Op op = Op::all_reduce;
  ReduceOp reduce_op = ReduceOp::sum;
  DType dtype = DType::f32;
  cuda::Algorithm algorithm = cuda::Algorithm::once;
  cuda::Protocol protocol = cuda::Protocol::sentinel;
  std::uint32_t lines_per_thread = 1;
  std::uint32_t threads = 64;
  std::uint64_t elements = 0;              ///< of the operand or of a part, as KernelCall::bytes
  std::vector<std::uint64_t> counts = {};  ///< of the v-forms, in elements
  std::uint32_t root = 0;
  std::size_t input_shift = 0;  ///< elements behind an aligned address
  std::size_t output_shift = 0;
  bool in_place = false;
};

std::string name_of(const KernelCase& test);

/// Operands of one case on every member: content as on the host, and memory of the devices.
class CaseRun {
 public:
  CaseRun(DeviceGroup& group, const KernelCase& test, std::uint64_t seed);

  cuda::KernelCall call(std::uint32_t member) const;
  /// Launches on every member. Throws: std::runtime_error.
  void launch(const cuda::Api& api);
  /// What is wrong with the outputs and their surroundings; empty if nothing is. Call after
  /// `DeviceGroup::wait`.
  std::string what_is_wrong() const;
  /// Whether all of the output holds the invalid pattern.
  bool is_invalid(std::uint32_t member) const;

 private:
  struct Rank {
    std::vector<std::byte> input;
    std::vector<std::byte> expected;
  };
  std::uint64_t sent_bytes(std::uint32_t from, std::uint32_t to) const;
  std::uint64_t input_begin(std::uint32_t from, std::uint32_t to) const;
  std::uint64_t output_begin(std::uint32_t from, std::uint32_t to) const;
  std::uint64_t input_bytes(std::uint32_t member) const;
  std::uint64_t output_bytes(std::uint32_t member) const;
  std::uint64_t count_bytes(std::size_t index) const;
  void expect(std::uint32_t member);

  DeviceGroup& group_;
  KernelCase test_;
  std::uint32_t members_;
  std::vector<std::uint64_t> byte_counts_;
  std::vector<Rank> ranks_;
  std::vector<Operand> inputs_;
  std::vector<Operand> outputs_;  // of calls in place: what both lie in
};

}  // namespace cohort::test
