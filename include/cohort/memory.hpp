#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include <cohort/export.hpp>

namespace cohort {

/// Where the buffers of a plan lie, and so which kind of addresses its calls take.
enum class Memory : std::uint8_t {
  host,  ///< shared memory of one machine
  cuda,  ///< memory of GPUs of one machine; calls are put into streams
};
inline constexpr std::size_t kMemoryCount = 2;

/// The stable spelling: "host", "cuda". Local.
COHORT_EXPORT std::string_view to_string(Memory memory) noexcept;

}  // namespace cohort
