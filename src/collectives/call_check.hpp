#pragma once

// Whether a call makes sense on its own, before any peer is asked: pure.

#include <cstdint>
#include <optional>
#include <string>

#include "collectives/call.hpp"
#include "collectives/partition.hpp"

namespace cohort::collectives {

/// What is wrong with the call on a rank that is member `self` of `size`, or nothing.
std::optional<std::string> find_fault(const Call& call, std::uint32_t size, std::uint32_t self);

/// First element of member `self`'s part in the gathered or scattered buffer.
std::size_t part_begin(const Call& call, std::uint32_t self) noexcept;

/// Elements of member `self`'s part.
std::size_t part_elements(const Call& call, std::uint32_t self) noexcept;

/// Where the input of member `from` holds what goes to member `to`, in all_to_all and all_to_allv.
Part sent_part(const Call& call, std::uint32_t size, std::uint32_t from, std::uint32_t to) noexcept;

/// First element of what comes from member `from` in the output of member `self`, likewise.
std::size_t received_begin(const Call& call, std::uint32_t size, std::uint32_t from,
                           std::uint32_t self) noexcept;

}  // namespace cohort::collectives
