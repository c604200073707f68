// A sum, its residual and its norm in one kernel, with one, two and four blocks a row: the bits of
// the host's sum and norm, and within rounding of float64.

#include <cmath>
#include <cstring>
#include <iostream>
#include <random>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/bf16.hpp"
#include "base/f16.hpp"
#include "collectives/cuda/norm_shape.hpp"
#include "collectives/rms_norm.hpp"
#include "gpu/plugin_fixture.hpp"
#include "support/reference_reduce.hpp"

namespace cohort::test {
namespace {

using Bytes = std::vector<std::byte>;

constexpr float kEpsilon = 1e-5F;

double value_at(const Bytes& bytes, std::size_t at, DType dtype) {
  std::uint16_t bits = 0;
  std::memcpy(&bits, bytes.data() + 2 * at, sizeof bits);
  return double{dtype == DType::bf16 ? f32_from_bf16(bits) : f32_from_f16(bits)};
}

/// Of all_reduce: every member's input, and what all of them share.
struct Rows {
  Rows(DType type, std::size_t width, std::size_t count, std::uint32_t members, unsigned seed)
      : dtype(type), hidden(width), rows(count) {
    std::mt19937 random(seed);
    for (std::uint32_t member = 0; member < members; ++member) {
      inputs.push_back(random_reals(rows * hidden, random));
    }
    residual = random_reals(rows * hidden, random);
    weight = random_reals(hidden, random);
    sum = reference_reduce(inputs, dtype, ReduceOp::sum);
    added = residual;
    normed.resize(rows * hidden * 2);
    const auto tensor = [&](Bytes& bytes) { return Tensor{bytes.data(), bytes.size() / 2, dtype}; };
    collectives::norm_on_host({tensor(added), tensor(weight), tensor(normed), kEpsilon},
                              sum.data());
  }

  Bytes random_reals(std::size_t elements, std::mt19937& random) const {
    std::normal_distribution<float> normal(0, 2);
    Bytes bytes(elements * 2);
    for (std::size_t at = 0; at < elements; ++at) {
      const float value = normal(random);
      const std::uint16_t bits = dtype == DType::bf16 ? bf16_from_f32(value) : f16_from_f32(value);
      std::memcpy(bytes.data() + 2 * at, &bits, sizeof bits);
    }
    return bytes;
  }

  /// All roundings on the way to a normed value: of the sum, with its residual, and its own; those
  /// of the row's mean are less.
  void expect_near_float64(const Bytes& got) const {
    const double step = dtype == DType::bf16 ? 0x1p-8 : 0x1p-11;
    for (std::size_t row = 0; row < rows; ++row) {
      std::vector<double> sums;
      std::vector<double> with_residual;
      double squares = 0;
      for (std::size_t at = row * hidden; at < (row + 1) * hidden; ++at) {
        double all = 0;
        for (const Bytes& input : inputs) all += value_at(input, at, dtype);
        sums.push_back(all);
        with_residual.push_back(all + value_at(residual, at, dtype));
        squares += with_residual.back() * with_residual.back();
      }
      const double scale = 1 / std::sqrt(squares / static_cast<double>(hidden) + double{kEpsilon});
      for (std::size_t column = 0; column < hidden; ++column) {
        const double weighted = scale * value_at(weight, column, dtype);
        const double wanted = with_residual[column] * weighted;
        const double summed = std::fabs(sums[column]) + std::fabs(with_residual[column]);
        const double slack =
            step * (summed * std::fabs(weighted) + 2 * std::fabs(wanted)) + 0x1p-20;
        ASSERT_NEAR(value_at(got, row * hidden + column, dtype), wanted, slack)
            << "row " << row << ", column " << column;
      }
    }
  }

  DType dtype;
  std::size_t hidden;
  std::size_t rows;
  std::vector<Bytes> inputs;
  Bytes residual;
  Bytes weight;
  Bytes sum;
  Bytes added;
  Bytes normed;
};

/// One member's operands on its device.
struct Place {
  Place(int device, const Rows& rows, std::uint32_t member)
      : input(device, rows.inputs[member].size()),
        residual(device, rows.residual.size()),
        weight(device, rows.weight.size()),
        added(device, rows.added.size()),
        normed(device, rows.normed.size()) {
    input.write(rows.inputs[member]);
    residual.write(rows.residual);
    weight.write(rows.weight);
  }

  cuda::FusedCall call(const DeviceGroup& group, const Rows& rows, std::uint32_t member,
                       std::uint32_t blocks_per_row, std::uint32_t rows_at_once) const {
    cuda::FusedCall fused{group.call(member), {}, blocks_per_row};
    const auto hidden = static_cast<std::uint32_t>(rows.hidden);
    const cuda::NormShape shape = cuda::norm_shape(hidden);
    fused.call.op = Op::all_reduce;
    fused.call.reduce_op = ReduceOp::sum;
    fused.call.dtype = rows.dtype;
    fused.call.algorithm = cuda::Algorithm::once;
    fused.call.protocol = cuda::Protocol::sentinel;
    fused.call.blocks = blocks_per_row * rows_at_once;
    fused.call.threads = shape.threads;
    fused.call.lines_per_thread = shape.lines_per_thread;
    fused.call.bytes = input.bytes();
    fused.call.input = input.address();
    fused.norm.dtype = rows.dtype;
    fused.norm.output = cuda::NormOutput::plain;
    fused.norm.hidden = hidden;
    fused.norm.epsilon = kEpsilon;
    fused.norm.residual = residual.address();
    fused.norm.weight = weight.address();
    fused.norm.residual_out = added.address();
    fused.norm.normed = normed.address();
    return fused;
  }

  bool is_intact() const {
    return input.is_intact() && residual.is_intact() && added.is_intact() && normed.is_intact();
  }

  Operand input;
  Operand residual;
  Operand weight;
  Operand added;
  Operand normed;
};

class GpuFusedBits : public PluginTest {
 protected:
  void SetUp() override {
    PluginTest::SetUp();
    std::cout << "seed " << seed_ << "\n";
  }

  void compare(DeviceGroup& group, const Rows& rows) {
    std::vector<Place> places;
    for (std::uint32_t member = 0; member < group.members(); ++member) {
      places.emplace_back(group.device_of(member), rows, member);
    }
    for (const std::uint32_t blocks_per_row : {1U, 2U, 4U}) {
      for (const std::uint32_t rows_at_once : {1U, 3U}) {
        SCOPED_TRACE(std::to_string(blocks_per_row) + " blocks a row");
        for (Place& place : places) {
          place.added.poison();
          place.normed.poison();
        }
        for (std::uint32_t member = 0; member < group.members(); ++member) {
          const cuda::FusedCall fused =
              places[member].call(group, rows, member, blocks_per_row, rows_at_once);
          check(api_->launch_fused(group.device(member), &fused), "launch_fused");
        }
        group.wait();
        expect(group, rows, places);
        if (HasFatalFailure()) return;
      }
    }
  }

  static void expect(const DeviceGroup& group, const Rows& rows, std::span<const Place> places) {
    for (std::uint32_t member = 0; member < group.members(); ++member) {
      ASSERT_EQ(describe_fault(group.fault(member)), "") << "member " << member;
      ASSERT_TRUE(places[member].added.read() == rows.added) << "member " << member;
      const Bytes normed = places[member].normed.read();
      ASSERT_TRUE(normed == rows.normed) << "member " << member;
      ASSERT_TRUE(places[member].is_intact()) << "stored beside an operand";
      if (member == 0) rows.expect_near_float64(normed);
    }
  }

  unsigned seed_ = std::random_device{}();
};

TEST_F(GpuFusedBits, AreTheHostsForAnyNumberOfBlocksARow) {
  for (const std::uint32_t members : {2U, 3U}) {
    DeviceGroup group(*api_, members, (members - 1) * 9 * 16384 * 2);
    for (const DType dtype : {DType::bf16, DType::f16}) {
      for (const std::size_t hidden : {std::size_t{1024}, std::size_t{7168}, std::size_t{16384}}) {
        for (const std::size_t count : {std::size_t{1}, std::size_t{4}, std::size_t{9}}) {
          SCOPED_TRACE(std::to_string(members) + " members, " + std::to_string(count) +
                       " rows of " + std::to_string(hidden));
          compare(group, Rows(dtype, hidden, count, members, ++seed_));
          if (HasFatalFailure()) return;
        }
      }
    }
    EXPECT_EQ(group.what_is_left(), "");
  }
}

}  // namespace
}  // namespace cohort::test
