#pragma once

#include <cstdint>
#include <string>

namespace cohort {

/// A byte count for people: "512 B", "1.5 MiB". Powers of 1024, one decimal from 1 KiB on. Local.
std::string format_bytes(std::uint64_t bytes);

}  // namespace cohort
