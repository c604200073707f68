#include "faults/catalog.hpp"

#include <array>

namespace cohort::faults {

std::span<const Fault> all_faults() {
  static const std::array all{wrong_group(),      block_handed_on(), growth_in_flight(),
                              allocation_order(), skipped_call(),    missing_call(),
                              added_call(),       resized_call(),    ragged_batch(),
                              lazy_first_use(),   captured_buffer(), destructor(),
                              dead_rank()};
  return all;
}

}  // namespace cohort::faults
