#include "gpu/kernel_case.hpp"

#include <algorithm>
#include <cstring>
#include <random>
#include <stdexcept>

#include "collectives/host/reduce.hpp"

namespace cohort::test {

namespace {

bool reduces(Op op) {
  return op == Op::all_reduce || op == Op::reduce_scatter || op == Op::reduce_scatterv;
}

bool has_counts(Op op) {
  return op == Op::all_gatherv || op == Op::reduce_scatterv || op == Op::all_to_allv;
}

/// Numbers that tell members and positions apart, any bits at all, and the sentinel.
std::vector<std::byte> random_content(std::uint64_t bytes, DType dtype, std::mt19937_64& random) {
  std::vector<std::byte> content(bytes);
  for (std::byte& byte : content) byte = static_cast<std::byte>(random());
  const std::uint64_t calm = random() % 3;  // 0: nothing but random bits
  for (std::uint64_t at = 0; at + 4 <= bytes; at += 4) {
    const std::uint64_t draw = random();
    std::uint32_t word = static_cast<std::uint32_t>(draw >> 32);
    if (calm == 0 || draw % 16 == 0) {
      if (draw % 64 == 0) word = cuda::kSentinel;
    } else if (dtype == DType::f32) {
      const float value = static_cast<float>(static_cast<std::int32_t>(word)) / 65536.0F;
      std::memcpy(&word, &value, sizeof word);
    } else if (dtype == DType::bf16) {
      word = (word & 0x83ff83ffU) | 0x3c003c00U;
    } else if (dtype == DType::f16) {
      word = (word & 0xbfffbfffU);
    }
    std::memcpy(content.data() + at, &word, sizeof word);
  }
  return content;
}

std::uint32_t invalid_word(const KernelCase& test) {
  if (!reduces(test.op)) return 0xffffffff;
  switch (test.dtype) {
    case DType::f32: return 0x7fc00000;
    case DType::bf16: return 0x7fc07fc0;
    case DType::f16: return 0x7e007e00;
    default: return 0xffffffff;
  }
}

}  // namespace

std::string name_of(const KernelCase& test) {
  std::string name = std::string(to_string(test.op)) + " " + std::string(to_string(test.dtype));
  if (reduces(test.op)) name += " " + std::string(to_string(test.reduce_op));
  name += test.algorithm == cuda::Algorithm::two_shot ? " two_shot"
          : test.algorithm == cuda::Algorithm::split  ? " split"
                                                      : " once";
  name += test.protocol == cuda::Protocol::flags ? " flags" : " sentinel";
  name += " U" + std::to_string(test.lines_per_thread) + " threads " +
          std::to_string(test.threads) + " elements " + std::to_string(test.elements);
  for (const std::uint64_t count : test.counts) name += ":" + std::to_string(count);
  name += " shift " + std::to_string(test.input_shift) + "," + std::to_string(test.output_shift);
  return test.in_place ? name + " in place" : name;
}

std::uint64_t CaseRun::count_bytes(std::size_t index) const {
  return test_.counts[index] * bytes_of(test_.dtype);
}

std::uint64_t CaseRun::sent_bytes(std::uint32_t from, std::uint32_t to) const {
  switch (test_.op) {
    case Op::barrier: return 0;
    case Op::broadcast: return from == test_.root ? test_.elements * bytes_of(test_.dtype) : 0;
    case Op::all_gatherv: return count_bytes(from);
    case Op::reduce_scatterv: return count_bytes(to);
    case Op::all_to_allv: return count_bytes(std::size_t{from} * members_ + to);
    default: return test_.elements * bytes_of(test_.dtype);
  }
}

std::uint64_t CaseRun::input_begin(std::uint32_t from, std::uint32_t to) const {
  const bool has_parts = test_.op == Op::reduce_scatter || test_.op == Op::reduce_scatterv ||
                         test_.op == Op::all_to_all || test_.op == Op::all_to_allv;
  std::uint64_t begin = 0;
  for (std::uint32_t before = 0; has_parts && before < to; ++before) {
    begin += sent_bytes(from, before);
  }
  return begin;
}

std::uint64_t CaseRun::output_begin(std::uint32_t from, std::uint32_t to) const {
  if (reduces(test_.op)) return 0;
  std::uint64_t begin = 0;
  for (std::uint32_t before = 0; before < from; ++before) begin += sent_bytes(before, to);
  return begin;
}

std::uint64_t CaseRun::input_bytes(std::uint32_t member) const {
  const std::uint32_t last = members_ - 1;
  return input_begin(member, last) + sent_bytes(member, last);
}

std::uint64_t CaseRun::output_bytes(std::uint32_t member) const {
  if (reduces(test_.op)) return sent_bytes(member, member);
  return output_begin(members_, member);
}

void CaseRun::expect(std::uint32_t member) {
  std::vector<std::byte>& expected = ranks_[member].expected;
  expected.resize(output_bytes(member));
  std::vector<const std::byte*> parts;
  for (std::uint32_t from = 0; from < members_; ++from) {
    const std::byte* part = ranks_[from].input.data() + input_begin(from, member);
    parts.push_back(part);
    if (reduces(test_.op) || sent_bytes(from, member) == 0) continue;
    std::memcpy(expected.data() + output_begin(from, member), part, sent_bytes(from, member));
  }
  if (!reduces(test_.op)) return;
  host::reduce(parts, expected.data(), expected.size() / bytes_of(test_.dtype), test_.dtype,
               test_.reduce_op);
}

CaseRun::CaseRun(DeviceGroup& group, const KernelCase& test, std::uint64_t seed)
    : group_(group), test_(test), members_(group.members()), ranks_(group.members()) {
  std::mt19937_64 random(seed);
  for (std::size_t k = 0; k < test.counts.size(); ++k) byte_counts_.push_back(count_bytes(k));
  for (std::uint32_t member = 0; member < members_; ++member) {
    ranks_[member].input = random_content(input_bytes(member), test.dtype, random);
  }
  const std::size_t element = bytes_of(test.dtype);
  for (std::uint32_t member = 0; member < members_; ++member) {
    expect(member);
    const int device = group.device_of(member);
    const std::vector<std::byte>& input = ranks_[member].input;
    if (!test.in_place) {
      inputs_.emplace_back(device, input.size(), test.input_shift * element);
      inputs_.back().write(input);
    }
    const std::uint64_t bytes =
        test.in_place ? std::max(input_bytes(member), output_bytes(member)) : output_bytes(member);
    outputs_.emplace_back(device, bytes, test.output_shift * element);
    outputs_.back().poison();
    if (!test.in_place) continue;
    std::vector<std::byte> content = outputs_.back().read();
    const std::uint64_t begin =
        test.op == Op::all_gather || test.op == Op::all_gatherv ? output_begin(member, member) : 0;
    std::copy(input.begin(), input.end(), content.begin() + static_cast<std::ptrdiff_t>(begin));
    outputs_.back().write(content);
  }
}

cuda::KernelCall CaseRun::call(std::uint32_t member) const {
  cuda::KernelCall call = group_.call(member);
  call.op = test_.op;
  call.reduce_op = test_.reduce_op;
  call.dtype = test_.dtype;
  call.algorithm = test_.algorithm;
  call.protocol = test_.protocol;
  call.root = test_.root;
  call.bytes = test_.elements * bytes_of(test_.dtype);
  call.counts = has_counts(test_.op) ? byte_counts_.data() : nullptr;
  call.output = outputs_[member].address();
  call.input = test_.in_place ? call.output : inputs_[member].address();
  if (test_.in_place) {
    if (reduces(test_.op)) {
      call.output += input_begin(member, member);
    } else {
      call.input += output_begin(member, member);
    }
  }
  std::uint64_t largest = 0;
  for (std::uint32_t from = 0; from < members_; ++from) {
    for (std::uint32_t to = 0; to < members_; ++to) {
      largest = std::max(largest, sent_bytes(from, to));
    }
  }
  const std::uint64_t line_bytes = test_.protocol == cuda::Protocol::flags ? 8 : 16;
  std::uint64_t lines = (largest + line_bytes - 1) / line_bytes;
  if (test_.algorithm == cuda::Algorithm::two_shot) lines = (lines + members_ - 1) / members_;
  const std::uint64_t of_block = std::uint64_t{test_.threads} * test_.lines_per_thread;
  call.threads = test_.threads;
  call.lines_per_thread = test_.lines_per_thread;
  call.blocks =
      static_cast<std::uint32_t>(std::max<std::uint64_t>(1, (lines + of_block - 1) / of_block));
  call.hash ^= call.blocks + call.bytes;
  return call;
}

void CaseRun::launch(const cuda::Api& api) {
  for (std::uint32_t member = 0; member < members_; ++member) {
    const cuda::KernelCall one = call(member);
    check(api.launch(group_.device(member), &one), "launch");
  }
}

std::string CaseRun::what_is_wrong() const {
  for (std::uint32_t member = 0; member < members_; ++member) {
    const std::string who = name_of(test_) + ", member " + std::to_string(member) + " of " +
                            std::to_string(members_) + ": ";
    const std::string fault = describe_fault(group_.fault(member));
    if (!fault.empty()) return who + fault;
    if (!outputs_[member].is_intact()) return who + "stored beside the output";
    const std::vector<std::byte> whole = outputs_[member].read();
    const std::uint64_t begin =
        test_.in_place && reduces(test_.op) ? input_begin(member, member) : 0;
    const std::vector<std::byte>& expected = ranks_[member].expected;
    for (std::size_t k = 0; k < expected.size(); ++k) {
      if (whole[begin + k] == expected[k]) continue;
      return who + "byte " + std::to_string(k) + " is " +
             std::to_string(std::to_integer<int>(whole[begin + k])) + ", not " +
             std::to_string(std::to_integer<int>(expected[k]));
    }
    if (!test_.in_place && inputs_[member].read() != ranks_[member].input) {
      return who + "the input changed";
    }
  }
  return {};
}

bool CaseRun::is_invalid(std::uint32_t member) const {
  const std::uint32_t word = invalid_word(test_);
  const std::vector<std::byte> output = outputs_[member].read();
  std::vector<std::byte> invalid(output.size());
  for (std::size_t k = 0; k < invalid.size(); ++k) {
    invalid[k] = static_cast<std::byte>(word >> 8 * (k % 4));
  }
  return output == invalid;
}

}  // namespace cohort::test
