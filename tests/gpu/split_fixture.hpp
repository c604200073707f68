#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "gpu/plugin_fixture.hpp"

namespace cohort::test {

using Bytes = std::vector<std::byte>;

/// A call of Algorithm::split, without operands.
struct SplitShape {
  Op op = Op::all_reduce;
  ReduceOp reduce_op = ReduceOp::sum;
  DType dtype = DType::bf16;
  std::uint64_t bytes = 0;
  std::vector<std::uint64_t> counts = {};  ///< of the v-forms
  std::uint32_t root = 0;
  bool in_place = false;
  std::size_t shift = 0;  ///< of all operands, behind an aligned address
  std::uint32_t blocks = 4;
  std::uint32_t threads = 128;
  std::uint32_t lines = 1;
};

class SplitTest : public PluginTest {
 protected:
  static cuda::KernelCall make_call(const DeviceGroup& group, const SplitShape& shape,
                                    std::uint32_t member) {
    cuda::KernelCall call = group.call(member);
    call.op = shape.op;
    call.reduce_op = shape.reduce_op;
    call.dtype = shape.dtype;
    call.algorithm = cuda::Algorithm::split;
    call.protocol = cuda::Protocol::sentinel;
    call.root = shape.root;
    call.blocks = shape.blocks;
    call.threads = shape.threads;
    call.lines_per_thread = shape.lines;
    call.bytes = shape.bytes;
    call.counts = shape.counts.empty() ? nullptr : shape.counts.data();
    call.hash += shape.bytes;
    return call;
  }
};

}  // namespace cohort::test
