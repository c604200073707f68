#pragma once

// One rank's process as its launcher sees it.

#include <sys/types.h>

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <cohort/ids.hpp>

#include "base/unique_fd.hpp"
#include "rendezvous/launcher.hpp"
#include "rendezvous/line_prefixer.hpp"
#include "rendezvous/protocol.hpp"

namespace cohort::rendezvous {

class Child {
 public:
  /// Starts the rank's program. The process gets SIGKILL when the calling thread ends.
  /// Throws: Error{system}. A program that cannot be executed shows as `exec_failed` later.
  static Child start(const LaunchOptions& options, WorldRank rank);

  WorldRank rank() const noexcept { return rank_; }
  bool running() const noexcept { return running_; }
  bool stopped() const;
  const RankEnd& end() const noexcept { return end_; }

  // Descriptors to poll; -1 where there is nothing to wait for.
  int process_fd() const noexcept { return running_ ? process_.get() : -1; }
  int socket_fd() const noexcept { return socket_.get(); }
  int errors_fd() const noexcept { return errors_.get(); }
  bool has_output() const noexcept { return !outgoing_.empty(); }

  /// Queues a frame and sends what the rank takes now: a stopped rank must not stop the launcher.
  void send(std::span<const std::byte> frame);
  void flush();
  /// Frames that have arrived. Error reports are kept aside; broken input closes the connection.
  std::vector<Frame> receive();
  /// Passes on what the rank wrote to its standard error.
  void forward_errors();
  void finish_errors();

  void signal(int number) noexcept;
  /// Whether the process has ended; then `end()` is complete but for its order.
  bool reap(std::uint32_t order);

 private:
  Child(WorldRank rank, pid_t pid, UniqueFd socket, UniqueFd errors);

  WorldRank rank_;
  pid_t pid_;
  bool running_ = true;
  UniqueFd process_;
  UniqueFd socket_;
  UniqueFd errors_;  // read end of its standard error, if that is prefixed
  LinePrefixer prefixer_;
  FrameReader reader_;
  std::vector<std::byte> outgoing_;
  RankEnd end_;
};

}  // namespace cohort::rendezvous
