#pragma once

// A plugin without a GPU: memory as in fake_cuda_memory, and kernels in plain C++ that follow the
// real protocol (headers, flags, sentinels that are cleared after reading, two buffers, deadlines,
// poison, tallies) and run in the thread that launches them. A launch therefore returns once its
// peers have launched theirs.

#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include <cohort/stream.hpp>

#include "backend/cuda/abi.hpp"
#include "support/fake_cuda_memory.hpp"

namespace cohort::test {

/// The whole table. The same for all ranks of a process.
const cuda::Api& fake_cuda_api();

/// A stream of the fake, for what the default stream cannot show: one that never ends, and graphs.
/// Must outlive what is put into it. By one thread.
class FakeStream {
 public:
  FakeStream();
  ~FakeStream();
  FakeStream(const FakeStream&) = delete;
  FakeStream& operator=(const FakeStream&) = delete;

  Stream handle() noexcept { return {this}; }
  /// From now on launches are kept instead of run.
  void begin_capture() noexcept { capturing_ = true; }
  /// Ends it; what was kept runs once with every call of the result.
  std::function<void()> end_capture();
  /// As if something that never ends had been put into it.
  void block() noexcept { blocked_ = true; }

  /// Something that what is being captured owns, and every copy of it.
  void hold(std::shared_ptr<void> held) { held_.push_back(std::move(held)); }

  bool capturing() const noexcept { return capturing_; }
  bool blocked() const noexcept { return blocked_; }
  void keep(std::function<void()> launch) { kept_.push_back(std::move(launch)); }

 private:
  bool capturing_ = false;
  bool blocked_ = false;
  std::vector<std::function<void()>> kept_;
  std::vector<std::shared_ptr<void>> held_;
};

}  // namespace cohort::test
