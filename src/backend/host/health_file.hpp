#pragma once

// Health as a file, kept fresh by a thread of its own: a file system may hang, and neither a rank
// nor the monitor that watches for deaths may hang with it.
//
// Every process of a job that knows the path has such a thread, and one of them writes: the one
// that wrote last goes on; if it falls silent, since it is dead or stopped, the lowest other rank
// takes over. Each version is complete: it is written beside the file and renamed over it.
// Thread safety: `hurry` from any thread; the rest from the owner's.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <thread>

#include <cohort/health.hpp>
#include <cohort/ids.hpp>

#include "base/unique_fd.hpp"

namespace cohort::host {

class HealthFile {
 public:
  static constexpr std::chrono::milliseconds kInterval{500};

  /// By what the processes of a job agree on who writes; in the control segment.
  struct Shared {
    std::atomic<std::uint64_t>& written_ns;
    std::atomic<std::uint32_t>& writer;
    WorldRank self;
  };

  /// Begins to write. A file that cannot be written is said once in the log, and tried again.
  HealthFile(const std::string& path, const Shared& shared, std::function<Health()> ask);
  ~HealthFile();
  HealthFile(const HealthFile&) = delete;
  HealthFile& operator=(const HealthFile&) = delete;

  /// Has this process write once more, soon: there is a fault.
  void hurry() noexcept;
  /// Ends the thread, then writes for the last time, so that the last rank to leave has said so.
  void end() noexcept;

 private:
  void run() noexcept;
  bool is_due() const noexcept;
  void write(const Health& health) noexcept;
  void interrupt() noexcept;

  std::string path_;
  Shared shared_;
  std::function<Health()> ask_;
  UniqueFd interrupt_;  // eventfd: hurry, or the end
  std::atomic<bool> ending_{false};
  std::atomic<bool> hurried_{false};
  bool failing_ = false;
  std::thread thread_;
};

}  // namespace cohort::host
