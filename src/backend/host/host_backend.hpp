#pragma once

// Arenas in shared memory: one sealed memory object per rank, mapped by every rank of the domain.

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
  std::unique_ptr<Arena> allocate(std::size_t bytes) override;

 private:
  std::shared_ptr<Domain> domain_;
};

}  // namespace cohort::host
