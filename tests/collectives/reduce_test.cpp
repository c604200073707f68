#include "collectives/host/reduce.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <random>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <cohort/dtype.hpp>
#include <cohort/verdict.hpp>

#include "support/golden_reductions.hpp"
#include "support/reference_reduce.hpp"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace cohort::host {
namespace {

using Bytes = std::vector<std::byte>;
using test::golden_reductions;
using test::GoldenReduction;
using test::reference_reduce;

constexpr std::array kDTypes{DType::f32, DType::bf16, DType::i32,
                             DType::i64, DType::f16,  DType::u8};
constexpr std::array kOps{ReduceOp::sum, ReduceOp::min, ReduceOp::max};

std::string describe(DType dtype, ReduceOp op) {
  constexpr std::array kNames{" sum", " min", " max"};
  return std::string(to_string(dtype)) + kNames[static_cast<std::size_t>(op)];
}

// An array whose bytes lie between two pages that nobody may touch, against either of them.
class FencedBytes {
 public:
  enum class Against { front, back };

  FencedBytes(std::span<const std::byte> content, Against fence)
      : page_bytes_(static_cast<std::size_t>(sysconf(_SC_PAGESIZE))),
        mapped_bytes_(round_up(content.size()) + 2 * page_bytes_) {
    void* mapping = mmap(nullptr, mapped_bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapping == MAP_FAILED) throw std::bad_alloc();
    mapping_ = static_cast<std::byte*>(mapping);
    std::byte* inner = mapping_ + page_bytes_;
    const std::size_t inner_bytes = mapped_bytes_ - 2 * page_bytes_;
    if (inner_bytes > 0 && mprotect(inner, inner_bytes, PROT_READ | PROT_WRITE) != 0) {
      throw std::bad_alloc();
    }
    data_ = fence == Against::front ? inner : inner + (inner_bytes - content.size());
    std::copy(content.begin(), content.end(), data_);
  }
  ~FencedBytes() { munmap(mapping_, mapped_bytes_); }
  FencedBytes(const FencedBytes&) = delete;
  FencedBytes& operator=(const FencedBytes&) = delete;

  std::byte* data() { return data_; }

 private:
  std::size_t round_up(std::size_t bytes) const {
    return (bytes + page_bytes_ - 1) / page_bytes_ * page_bytes_;
  }

  std::size_t page_bytes_;
  std::size_t mapped_bytes_;
  std::byte* mapping_ = nullptr;
  std::byte* data_ = nullptr;
};

// One test instance for each instruction set that this machine has.
class Reduce : public ::testing::TestWithParam<std::int64_t> {
 protected:
  void SetUp() override {
    hwy::SetSupportedTargetsForTest(GetParam());
    ASSERT_EQ(reduce_instruction_set(), std::string_view(hwy::TargetName(GetParam())));
  }
  void TearDown() override { hwy::SetSupportedTargetsForTest(0); }

  std::mt19937_64 random_{20240607};

  std::size_t random_below(std::size_t limit) { return random_() % limit; }

  // Floats are drawn so that zeros, denormals, infinities, NaN and equal values all meet often.
  Bytes random_operand(DType dtype, std::size_t elements) {
    const std::size_t element_bytes = bytes_of(dtype);
    Bytes operand(elements * element_bytes);
    for (std::size_t at = 0; at < operand.size(); at += element_bytes) {
      std::uint64_t pattern = random_();
      if (dtype == DType::f32 || dtype == DType::bf16) {
        static constexpr std::array<std::uint32_t, 8> kExponents{0x00000000, 0x00800000, 0x01000000,
                                                                 0x3f000000, 0x3f800000, 0x40000000,
                                                                 0x7f000000, 0x7f800000};
        const auto drawn = static_cast<std::uint32_t>(random_());
        // The top exponent makes NaN unless its fraction is empty: rare, and half infinite.
        const std::uint32_t exponent = kExponents[drawn % 64 == 0 ? 7 : drawn % 7];
        const bool round_number =
            (drawn >> 8) % 4 == 0 || (exponent == kExponents[7] && drawn >> 31);
        auto bits = static_cast<std::uint32_t>(pattern) & 0x807fffff;
        if (round_number) bits &= 0x80000000;
        bits |= exponent;
        pattern = dtype == DType::f32 ? bits : bits >> 16;
      } else if (dtype == DType::f16) {
        static constexpr std::array<std::uint32_t, 8> kExponents{0x0000, 0x0000, 0x0400, 0x3800,
                                                                 0x3c00, 0x4000, 0x7800, 0x7c00};
        const auto drawn = static_cast<std::uint32_t>(random_());
        const std::uint32_t exponent = kExponents[drawn % 64 == 0 ? 7 : drawn % 7];
        const bool round_number = (drawn >> 8) % 4 == 0 || (exponent == 0x7c00 && drawn >> 31);
        pattern = (pattern & (round_number ? 0x8000U : 0x83ffU)) | exponent;
      }
      std::memcpy(&operand[at], &pattern, element_bytes);
    }
    return operand;
  }

  std::vector<Bytes> random_operands(std::size_t count, DType dtype, std::size_t elements) {
    std::vector<Bytes> operands;
    for (std::size_t operand = 0; operand < count; ++operand) {
      operands.push_back(random_operand(dtype, elements));
    }
    return operands;
  }
};

std::vector<const std::byte*> pointers_to(const std::vector<Bytes>& operands) {
  std::vector<const std::byte*> pointers;
  for (const Bytes& operand : operands) pointers.push_back(operand.data());
  return pointers;
}

Bytes reduced(const std::vector<Bytes>& operands, DType dtype, ReduceOp op) {
  Bytes out(operands.front().size());
  reduce(pointers_to(operands), out.data(), out.size() / bytes_of(dtype), dtype, op);
  return out;
}

// Element by element, since a differing index says more than two long arrays.
void expect_same(const Bytes& actual, const Bytes& expected, DType dtype, const std::string& what) {
  ASSERT_EQ(actual.size(), expected.size()) << what;
  if (actual == expected) return;
  const std::size_t element_bytes = bytes_of(dtype);
  for (std::size_t at = 0; at < actual.size(); at += element_bytes) {
    std::uint64_t actual_bits = 0;
    std::uint64_t expected_bits = 0;
    std::memcpy(&actual_bits, &actual[at], element_bytes);
    std::memcpy(&expected_bits, &expected[at], element_bytes);
    ASSERT_EQ(actual_bits, expected_bits)
        << what << ", element " << at / element_bytes << std::hex << ": 0x" << actual_bits
        << " instead of 0x" << expected_bits;
  }
}

// The golden elements, starting at `first` and going round until `elements` are there: each element
// comes to lie in whole blocks, in whole vectors and in every remainder.
Bytes rotated(const Bytes& golden, std::size_t element_bytes, std::size_t first,
              std::size_t elements) {
  Bytes result;
  const std::size_t golden_elements = golden.size() / element_bytes;
  for (std::size_t index = 0; index < elements; ++index) {
    const auto from =
        static_cast<std::ptrdiff_t>((first + index) % golden_elements * element_bytes);
    result.insert(result.end(), golden.begin() + from,
                  golden.begin() + from + static_cast<std::ptrdiff_t>(element_bytes));
  }
  return result;
}

TEST_P(Reduce, GivesTheGoldenBitsAtEveryPosition) {
  for (const GoldenReduction& golden : golden_reductions()) {
    const std::size_t element_bytes = bytes_of(golden.dtype);
    for (std::size_t first = 0; first < golden.elements; ++first) {
      const std::size_t elements = 130 + first;
      std::vector<Bytes> operands;
      for (const Bytes& operand : golden.operands) {
        operands.push_back(rotated(operand, element_bytes, first, elements));
      }
      for (const ReduceOp op : kOps) {
        const Bytes expected = rotated(golden.result(op), element_bytes, first, elements);
        ASSERT_NO_FATAL_FAILURE(expect_same(reduced(operands, golden.dtype, op), expected,
                                            golden.dtype,
                                            golden.name() + " " + describe(golden.dtype, op)));
      }
    }
  }
}

TEST_P(Reduce, GivesTheGoldenBitsAtEveryLength) {
  for (const GoldenReduction& golden : golden_reductions()) {
    for (std::size_t elements = 1; elements <= golden.elements; ++elements) {
      const std::size_t bytes = elements * bytes_of(golden.dtype);
      std::vector<Bytes> operands = golden.operands;
      for (Bytes& operand : operands) operand.resize(bytes);
      for (const ReduceOp op : kOps) {
        Bytes expected = golden.result(op);
        expected.resize(bytes);
        ASSERT_NO_FATAL_FAILURE(expect_same(reduced(operands, golden.dtype, op), expected,
                                            golden.dtype,
                                            golden.name() + " " + describe(golden.dtype, op)));
      }
    }
  }
}

TEST_P(Reduce, GivesTheGoldenBitsAtEveryAlignment) {
  for (const GoldenReduction& golden : golden_reductions()) {
    const std::size_t bytes = golden.elements * bytes_of(golden.dtype);
    for (std::size_t offset = 0; offset < 64; ++offset) {
      // Each operand lies at another offset, and so does the result.
      std::vector<Bytes> buffers;
      std::vector<const std::byte*> inputs;
      for (const Bytes& operand : golden.operands) {
        const std::size_t shift = (offset + 7 * buffers.size()) % 64;
        buffers.emplace_back(shift + bytes);
        std::copy(operand.begin(), operand.end(), &buffers.back()[shift]);
      }
      for (std::size_t input = 0; input < buffers.size(); ++input) {
        inputs.push_back(buffers[input].data() + (buffers[input].size() - bytes));
      }
      for (const ReduceOp op : kOps) {
        constexpr std::byte kUntouched{0xa5};
        const std::size_t shift = (3 * offset + 1) % 64;
        Bytes out(shift + bytes + 64, kUntouched);
        reduce(inputs, &out[shift], golden.elements, golden.dtype, op);
        const auto begin = out.begin() + static_cast<std::ptrdiff_t>(shift);
        const auto end = begin + static_cast<std::ptrdiff_t>(bytes);
        ASSERT_NO_FATAL_FAILURE(expect_same(Bytes(begin, end), golden.result(op), golden.dtype,
                                            golden.name() + describe(golden.dtype, op)));
        const auto untouched = [](std::byte byte) { return byte == kUntouched; };
        ASSERT_TRUE(std::all_of(out.begin(), begin, untouched)) << golden.name();
        ASSERT_TRUE(std::all_of(end, out.end(), untouched)) << golden.name();
      }
    }
  }
}

TEST_P(Reduce, MayWriteOverAnyOfItsInputs) {
  for (const GoldenReduction& golden : golden_reductions()) {
    const std::size_t element_bytes = bytes_of(golden.dtype);
    constexpr std::size_t kElements = 333;
    for (const ReduceOp op : kOps) {
      for (std::size_t target = 0; target < golden.operands.size(); ++target) {
        std::vector<Bytes> operands;
        for (const Bytes& operand : golden.operands) {
          operands.push_back(rotated(operand, element_bytes, target, kElements));
        }
        reduce(pointers_to(operands), operands[target].data(), kElements, golden.dtype, op);
        ASSERT_NO_FATAL_FAILURE(expect_same(
            operands[target], rotated(golden.result(op), element_bytes, target, kElements),
            golden.dtype, golden.name() + " over operand " + std::to_string(target)));
      }
    }
  }
}

TEST_P(Reduce, AgreesWithThePlainReferenceOnRandomOperands) {
  for (const DType dtype : kDTypes) {
    for (const ReduceOp op : kOps) {
      for (std::size_t count = 1; count <= 9; ++count) {
        for (int round = 0; round < 4; ++round) {
          const std::size_t elements = 1 + random_below(round == 0 ? 3000 : 300);
          const std::vector<Bytes> operands = random_operands(count, dtype, elements);
          ASSERT_NO_FATAL_FAILURE(
              expect_same(reduced(operands, dtype, op), reference_reduce(operands, dtype, op),
                          dtype, describe(dtype, op) + " of " + std::to_string(count)));
        }
      }
    }
  }
}

// Every f16 goes through the kernel's own conversions and back; the second operand, where there is
// one, adds nothing.
TEST_P(Reduce, EveryF16SurvivesExceptNanPayloads) {
  constexpr std::size_t kPatterns = 65536;
  Bytes all(kPatterns * 2);
  Bytes expected(kPatterns * 2);
  for (std::size_t i = 0; i < kPatterns; ++i) {
    const auto bits = static_cast<std::uint16_t>(i);
    const bool is_nan = (bits & 0x7fffU) > 0x7c00U;
    const std::uint16_t wanted = is_nan ? std::uint16_t{0x7e00} : bits;
    std::memcpy(&all[2 * i], &bits, 2);
    std::memcpy(&expected[2 * i], &wanted, 2);
  }
  for (const ReduceOp op : kOps) {
    expect_same(reduced({all}, DType::f16, op), expected, DType::f16, describe(DType::f16, op));
    if (op == ReduceOp::sum) continue;
    expect_same(reduced({all, all}, DType::f16, op), expected, DType::f16, "twice");
  }
  Bytes minus_zeros(kPatterns * 2);
  for (std::size_t i = 0; i < kPatterns; ++i) minus_zeros[2 * i + 1] = std::byte{0x80};
  expect_same(reduced({all, minus_zeros}, DType::f16, ReduceOp::sum), expected, DType::f16,
              "plus -0");
}

// Sums of two f16 reach every rounding there is: each pattern meets partners near and far.
TEST_P(Reduce, EveryF16PlusAnotherIsRoundedAsTheReferenceSays) {
  constexpr std::size_t kPatterns = 65536;
  Bytes all(kPatterns * 2);
  for (std::size_t i = 0; i < kPatterns; ++i) {
    const auto bits = static_cast<std::uint16_t>(i);
    std::memcpy(&all[2 * i], &bits, 2);
  }
  static constexpr std::array<std::uint16_t, 14> kPartners{0x0001, 0x8001, 0x03ff, 0x0400, 0x1000,
                                                           0x9000, 0x3c00, 0xbc00, 0x4c00, 0x7bff,
                                                           0xfbff, 0x7c00, 0xfc00, 0x7e01};
  for (const std::uint16_t partner : kPartners) {
    Bytes others(kPatterns * 2);
    for (std::size_t i = 0; i < kPatterns; ++i) std::memcpy(&others[2 * i], &partner, 2);
    for (const ReduceOp op : kOps) {
      const std::vector<Bytes> operands{all, others};
      ASSERT_NO_FATAL_FAILURE(expect_same(reduced(operands, DType::f16, op),
                                          reference_reduce(operands, DType::f16, op), DType::f16,
                                          describe(DType::f16, op)));
    }
  }
}

TEST_P(Reduce, EveryPairOfBytesIsReducedAsTheReferenceSays) {
  std::vector<Bytes> operands(2, Bytes(65536));
  for (std::size_t i = 0; i < 65536; ++i) {
    operands[0][i] = static_cast<std::byte>(i & 0xffU);
    operands[1][i] = static_cast<std::byte>(i >> 8U);
  }
  for (const ReduceOp op : kOps) {
    expect_same(reduced(operands, DType::u8, op), reference_reduce(operands, DType::u8, op),
                DType::u8, describe(DType::u8, op));
  }
}

TEST_P(Reduce, TheSameOperandMayComeTwice) {
  const Bytes operand = random_operand(DType::f32, 100);
  Bytes out(operand.size());
  const std::array inputs{operand.data(), operand.data(), operand.data()};
  reduce(inputs, out.data(), 100, DType::f32, ReduceOp::sum);
  const std::vector<Bytes> operands(3, operand);
  expect_same(out, reference_reduce(operands, DType::f32, ReduceOp::sum), DType::f32, "thrice");
}

TEST_P(Reduce, StaysWithinItsOperands) {
  for (const auto fence : {FencedBytes::Against::front, FencedBytes::Against::back}) {
    for (const DType dtype : kDTypes) {
      for (const std::size_t elements : {0UL, 1UL, 2UL, 3UL, 5UL, 15UL, 31UL, 64UL, 127UL, 511UL}) {
        const std::vector<Bytes> operands = random_operands(3, dtype, elements);
        FencedBytes first(operands[0], fence);
        FencedBytes second(operands[1], fence);
        FencedBytes third(operands[2], fence);
        const std::array<const std::byte*, 3> inputs{first.data(), second.data(), third.data()};
        for (const ReduceOp op : kOps) {
          FencedBytes out(Bytes(operands[0].size()), fence);
          reduce(inputs, out.data(), elements, dtype, op);
          const Bytes result(out.data(), out.data() + operands[0].size());
          ASSERT_NO_FATAL_FAILURE(expect_same(result, reference_reduce(operands, dtype, op), dtype,
                                              describe(dtype, op)));
        }
      }
    }
  }
}

TEST_P(Reduce, OfNothingWritesNothing) {
  std::byte out{0x5a};
  const std::byte input{0};
  const std::array inputs{&input, &input};
  for (const DType dtype : kDTypes) {
    for (const ReduceOp op : kOps) {
      reduce(inputs, &out, 0, dtype, op);
      EXPECT_EQ(out, std::byte{0x5a});
    }
  }
}

#if defined(__x86_64__)
TEST_P(Reduce, DoesNotFollowTheCallersFloatingPointMode) {
  constexpr unsigned kFlushResults = 1U << 15;
  constexpr unsigned kReadDenormalsAsZero = 1U << 6;
  constexpr unsigned kTowardsZero = 3U << 13;
  const unsigned saved = _mm_getcsr();
  for (const GoldenReduction& golden : golden_reductions()) {
    _mm_setcsr(saved | kFlushResults | kReadDenormalsAsZero | kTowardsZero);
    const unsigned before = _mm_getcsr();
    const Bytes result = reduced(golden.operands, golden.dtype, ReduceOp::sum);
    const unsigned after = _mm_getcsr();
    _mm_setcsr(saved);
    EXPECT_EQ(after, before);
    ASSERT_NO_FATAL_FAILURE(expect_same(result, golden.sum, golden.dtype, golden.name()));
  }
}
#endif

// Those that Highway would choose from, less those that reduce.cpp leaves out.
std::vector<std::int64_t> reduce_targets() {
  constexpr std::int64_t kLeftOut =
      HWY_SSSE3 | HWY_SVE | HWY_SVE_256 | HWY_SVE2 | HWY_SVE2_128 | HWY_RVV;
  std::vector<std::int64_t> targets = hwy::SupportedAndGeneratedTargets();
  std::erase_if(targets, [](std::int64_t target) { return (target & kLeftOut) != 0; });
  return targets;
}

INSTANTIATE_TEST_SUITE_P(InstructionSets, Reduce, ::testing::ValuesIn(reduce_targets()),
                         [](const auto& target) { return hwy::TargetName(target.param); });

// What the golden file and the reference say of each other, without any fast path between them.
TEST(ReferenceReduce, GivesTheGoldenBits) {
  for (const GoldenReduction& golden : golden_reductions()) {
    for (const ReduceOp op : kOps) {
      ASSERT_NO_FATAL_FAILURE(expect_same(reference_reduce(golden.operands, golden.dtype, op),
                                          golden.result(op), golden.dtype,
                                          golden.name() + " " + describe(golden.dtype, op)));
    }
  }
}

TEST(GoldenReductions, CoverEveryTypeWithOneToEightOperands) {
  std::set<std::pair<DType, std::size_t>> found;
  for (const GoldenReduction& golden : golden_reductions()) {
    found.emplace(golden.dtype, golden.operands.size());
    EXPECT_GT(golden.elements, 5U) << golden.name();
  }
  EXPECT_EQ(found.size(), kDTypes.size() * 8);
}

}  // namespace
}  // namespace cohort::host
