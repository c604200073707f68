#pragma once

// Carries faults between the kernels of a rank and its domain: what a kernel wrote into the fault
// record becomes the job's fault, and the job's fault reaches kernels that wait for a rank which
// will not come.
//
// A thread of its own looks every few milliseconds, because the rank's own thread may be doing
// anything. Lock order: `mutex_` alone; it is held while a record is put into words.

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <thread>

#include <cohort/error.hpp>

#include "backend/cuda/device.hpp"
#include "backend/host/domain.hpp"

namespace cohort::cuda {

/// Who knows what the numbers in a fault record mean.
class FaultReader {
 public:
  virtual ~FaultReader() = default;
  /// From any thread. `record` is complete and of kind deadline, mismatch or stale_generation.
  virtual Error error_of(const FaultRecord& record) const = 0;
};

class FaultWatch {
 public:
  FaultWatch(host::Domain& domain, std::shared_ptr<OpenDevice> device);
  ~FaultWatch();
  FaultWatch(const FaultWatch&) = delete;
  FaultWatch& operator=(const FaultWatch&) = delete;

  /// Where kernels write: KernelCall::fault.
  Address record_address() const noexcept { return words_.address(); }
  /// From now on a fault of the job ends this rank's kernels. `session_words` lies in its arena.
  void start(Address session_words);
  /// Before the arena goes.
  void stop() noexcept;
  /// Who reads records from now on. Returns once the one before is not asked any more.
  void set_reader(const FaultReader* reader) noexcept;
  /// Nobody from now on, if it is `reader` now.
  void forget_reader(const FaultReader* reader) noexcept;

  /// Throws the job's fault, or the one in the record, which then is the job's. Two loads if there
  /// is none.
  void check(std::string_view phase) {
    if (is_complete()) [[unlikely]] {
      raise(phase);
    }
    if (domain_->poisoned()) [[unlikely]] {
      domain_->check({}, phase);
    }
  }

 private:
  bool is_complete() const noexcept {
    auto& record = *static_cast<FaultRecord*>(words_.host());
    return std::atomic_ref(record.complete).load(std::memory_order_acquire) != 0;
  }
  std::optional<Error> read_fault() const;
  void raise(std::string_view phase);
  void run() noexcept;
  void look() noexcept;

  host::Domain* domain_;
  std::shared_ptr<OpenDevice> device_;
  MappedWords words_;
  mutable std::mutex mutex_;
  const FaultReader* reader_ = nullptr;
  Address session_words_ = 0;
  bool published_ = false;
  bool poked_ = false;
  std::atomic<bool> ending_ = false;
  std::thread thread_;
};

}  // namespace cohort::cuda
