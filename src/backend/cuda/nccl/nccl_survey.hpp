#pragma once

// What ranks tell each other before NCCL is used, and what follows from it for all of them. Pure,
// but for asking NCCL.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <cohort/ids.hpp>

#include "backend/cuda/nccl/abi.hpp"
#include "backend/cuda/nccl/version.hpp"

namespace cohort::cuda {

/// One rank's NCCL.
struct NcclFacts {
  std::string missing;  ///< why there is none, or empty
  nccl::Version version;
  std::string path;
  std::string windows_off;  ///< why windows are ruled out, or empty
  bool has_all_to_all = false;
  bool registers_operands = false;  ///< of plain calls, of its own accord
  std::string device;               ///< the same text for the same device in every process

  std::vector<std::byte> encode() const;
  /// Throws: Error{corrupt}.
  static NcclFacts decode(std::span<const std::byte> bytes);
};

/// Loads NCCL. `api` is null where the plugin has none. Local.
NcclFacts facts_of_nccl(const nccl::Api* api, const std::string& device);

/// What holds for all ranks: capabilities may differ, all get the least of them and the reason.
struct NcclSupport {
  std::string refusal;  ///< why NCCL is not used, or empty
  nccl::Version version;
  std::string windows_refusal;  ///< why nothing is symmetric, or empty
  bool has_all_to_all = false;
  bool registers_operands = false;
};

/// By world rank.
NcclSupport agree_on_nccl(std::span<const NcclFacts> facts);

/// Why these ranks cannot have a communicator, or empty: NCCL wants a device for each of them.
std::string refusal_of_group(std::span<const NcclFacts> facts, std::span<const WorldRank> ranks);

}  // namespace cohort::cuda
