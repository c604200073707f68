#pragma once

// One thread per process that notices when ranks in other processes end.
//
// It watches each peer's pidfd and control connection and tells the domain; it decides nothing.
// Thread safety: all functions from any thread. Lock order: `mutex_` is held while a listener is
// told, so a listener must not call back; once `remove` returns it is never told again.

#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include <cohort/ids.hpp>

#include "backend/host/mesh.hpp"
#include "base/unique_fd.hpp"

namespace cohort::host {

class Monitor {
 public:
  using Listener = std::function<void(WorldRank)>;

  /// The process's monitor; its thread runs as long as somebody holds it.
  static std::shared_ptr<Monitor> shared();

  Monitor();
  ~Monitor();
  Monitor(const Monitor&) = delete;
  Monitor& operator=(const Monitor&) = delete;

  /// Calls `peer_ended` once for every peer of `mesh` in another process that ends or closes its
  /// connection. `mesh` must stay until `remove(&mesh)`.
  void add(const Mesh& mesh, Listener peer_ended);
  void remove(const Mesh& mesh) noexcept;

 private:
  struct Watch {
    const Mesh* mesh;
    WorldRank rank;
    int socket;
    int process;  // -1 if not visible
  };
  struct Entry {
    const Mesh* mesh;
    Listener peer_ended;
  };

  void run() noexcept;
  void poll_once();
  void tell(const Watch& watch);
  void interrupt() noexcept;

  std::mutex mutex_;
  std::vector<Entry> entries_;
  std::vector<Watch> watches_;
  bool ending_ = false;
  UniqueFd interrupt_;  // eventfd: the watches have changed
  std::thread thread_;
};

}  // namespace cohort::host
