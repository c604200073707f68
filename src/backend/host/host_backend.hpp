#pragma once

// Arenas in shared memory: one sealed memory object per rank and segment, mapped by every rank of
// the domain. Each process reserves addresses for each rank's arena once; segments are mapped into
// them one behind the other, so that base and offset is all it takes to find a byte.

#include <memory>

#include "backend/backend.hpp"
#include "backend/host/domain.hpp"

namespace cohort::host {

class HostBackend final : public Backend {
 public:
  explicit HostBackend(std::shared_ptr<Domain> domain) : domain_(std::move(domain)) {}

  std::size_t granule_bytes() const noexcept override;
  /// Refuses before taking anything if the ranks of this host that allocate now would together
  /// need more memory than is left.
  std::unique_ptr<Arena> allocate(std::size_t bytes, std::size_t reserve_bytes) override;
  using Backend::allocate;

 private:
  std::shared_ptr<Domain> domain_;
};

}  // namespace cohort::host
