#pragma once

// Which bytes go from whom to whom in a launch whose counts lie on the device: pure, of the counts
// and what all members have planned. For the kernels and for the tests' own.
//
// Such a call is planned as the form with equal parts of `most` bytes, in windows of every part if
// scratch does not hold it: a launch moves bytes [first, first + call.bytes) of each part, as far
// as the part has them. So places in scratch do not depend on counts.

#include <cstdint>

#include "backend/cuda/abi.hpp"

#ifdef __CUDACC__
#define COHORT_BOTH __host__ __device__
#else
#define COHORT_BOTH
#endif

namespace cohort::cuda {

/// How the counts of a launch are read, and what to make of them.
struct CountedShape {
  Op op;  ///< all_gather, reduce_scatter or all_to_all
  std::uint32_t members;
  std::uint32_t element_bytes;
  std::uint64_t first;   ///< of the launch's bytes, in every part
  std::uint64_t window;  ///< how many they are at most
  std::uint64_t most;    ///< bytes of the largest part that is planned
};

struct CountedPart {
  std::uint64_t begin;  ///< in the whole operand
  std::uint64_t bytes;
};

class Counted {
 public:
  COHORT_BOTH Counted(const CountedShape& shape, const std::uint64_t* counts)
      : shape_(shape), counts_(counts) {}

  COHORT_BOTH std::uint32_t size() const {
    return is_exchange() ? shape_.members * shape_.members : shape_.members;
  }
  /// Bytes of a part, cut to what is planned: nothing may be written beyond.
  COHORT_BOTH std::uint64_t bytes_at(std::uint32_t index) const {
    const std::uint64_t most = shape_.most / shape_.element_bytes;
    const std::uint64_t count = counts_[index];
    return (count < most ? count : most) * shape_.element_bytes;
  }
  /// Whether a count is larger than what is planned.
  COHORT_BOTH bool exceeds(std::uint32_t index) const {
    return counts_[index] > shape_.most / shape_.element_bytes;
  }
  /// What `from` sends to `to` in this launch, in the input of `from`.
  COHORT_BOTH CountedPart sent(std::uint32_t from, std::uint32_t to) const {
    return in_window(shape_.op == Op::all_gather ? 0 : before(from, to, true), part(from, to));
  }
  /// The same in the output of `to`; of reductions, where the result goes.
  COHORT_BOTH CountedPart received(std::uint32_t from, std::uint32_t to) const {
    return in_window(shape_.op == Op::reduce_scatter ? 0 : before(from, to, false), part(from, to));
  }

 private:
  COHORT_BOTH bool is_exchange() const { return shape_.op == Op::all_to_all; }
  COHORT_BOTH std::uint64_t part(std::uint32_t from, std::uint32_t to) const {
    if (is_exchange()) return bytes_at(from * shape_.members + to);
    return bytes_at(shape_.op == Op::all_gather ? from : to);
  }
  /// Bytes of all parts that lie before this one, in the sender's operand or the receiver's.
  COHORT_BOTH std::uint64_t before(std::uint32_t from, std::uint32_t to, bool of_sender) const {
    std::uint64_t sum = 0;
    const std::uint32_t end = of_sender ? to : from;
    for (std::uint32_t k = 0; k < end; ++k) sum += of_sender ? part(from, k) : part(k, to);
    return sum;
  }
  COHORT_BOTH CountedPart in_window(std::uint64_t begin, std::uint64_t bytes) const {
    const std::uint64_t left = bytes > shape_.first ? bytes - shape_.first : 0;
    return {begin + shape_.first, left < shape_.window ? left : shape_.window};
  }

  const CountedShape& shape_;
  const std::uint64_t* counts_;
};

/// Folds counts into the upper half of a launch's hash; the lower half still names the launch.
COHORT_BOTH inline std::uint64_t fold_count(std::uint64_t hash, std::uint32_t index,
                                            std::uint64_t count) {
  std::uint64_t mixed = (count + 1) * 0x9E3779B97F4A7C15U + (index + 1) * 0xC2B2AE3D27D4EB4FU;
  mixed ^= mixed >> 29;
  mixed *= 0xBF58476D1CE4E5B9U;
  return hash ^ (mixed & 0xFFFFFFFF00000000U);
}

}  // namespace cohort::cuda
