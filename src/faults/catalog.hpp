#pragma once

// Every fault that can be replayed; one file each.

#include <span>

#include "faults/fault.hpp"

namespace cohort::faults {

Fault wrong_group();
Fault block_handed_on();
Fault growth_in_flight();
Fault allocation_order();
Fault skipped_call();
Fault missing_call();
Fault added_call();
Fault resized_call();
Fault ragged_batch();
Fault lazy_first_use();
Fault captured_buffer();
Fault destructor();
Fault dead_rank();

/// In the order in which they are shown.
std::span<const Fault> all_faults();

}  // namespace cohort::faults
