#include "backend/host/monitor.hpp"

#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <cstdint>
#include <utility>

#include "backend/host/quiet_thread.hpp"
#include "backend/host/system_error.hpp"

namespace cohort::host {

std::shared_ptr<Monitor> Monitor::shared() {
  static std::mutex mutex;
  static std::weak_ptr<Monitor> current;
  const std::lock_guard lock(mutex);
  std::shared_ptr<Monitor> monitor = current.lock();
  if (!monitor) current = monitor = std::make_shared<Monitor>();
  return monitor;
}

Monitor::Monitor() : interrupt_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!interrupt_) throw_system_error("watch other ranks (eventfd)", "join");
  thread_ = start_without_signals("watches other ranks", [this] { run(); });
}

Monitor::~Monitor() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  interrupt();
  thread_.join();
}

void Monitor::add(const Mesh& mesh, Listener peer_ended) {
  const std::lock_guard lock(mutex_);
  entries_.push_back({&mesh, std::move(peer_ended)});
  for (std::uint32_t rank = 0; rank < mesh.peers.size(); ++rank) {
    const MeshPeer& peer = mesh.peers[rank];
    if (!peer.socket || peer.in_this_process) continue;
    watches_.push_back({&mesh, WorldRank{rank}, peer.socket.get(), peer.process.get()});
  }
  interrupt();
}

void Monitor::remove(const Mesh& mesh) noexcept {
  const std::lock_guard lock(mutex_);
  std::erase_if(entries_, [&](const Entry& entry) { return entry.mesh == &mesh; });
  std::erase_if(watches_, [&](const Watch& watch) { return watch.mesh == &mesh; });
  interrupt();
}

void Monitor::interrupt() noexcept {
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = ::write(interrupt_.get(), &one, sizeof one);
}

void Monitor::run() noexcept {
  while (true) {
    {
      const std::lock_guard lock(mutex_);
      if (ending_) return;
    }
    poll_once();
  }
}

void Monitor::poll_once() {
  std::vector<Watch> watches;
  {
    const std::lock_guard lock(mutex_);
    watches = watches_;
  }
  // No POLLIN on connections: their messages belong to the rank's thread.
  std::vector<pollfd> polled{{interrupt_.get(), POLLIN, 0}};
  for (const Watch& watch : watches) {
    polled.push_back({watch.socket, POLLRDHUP, 0});
    polled.push_back({watch.process, POLLIN, 0});
  }
  if (::poll(polled.data(), polled.size(), -1) <= 0) return;
  std::uint64_t count = 0;
  [[maybe_unused]] const auto drained = ::read(interrupt_.get(), &count, sizeof count);
  for (std::size_t index = 0; index < watches.size(); ++index) {
    if (polled[1 + 2 * index].revents != 0 || polled[2 + 2 * index].revents != 0) {
      tell(watches[index]);
    }
  }
}

void Monitor::tell(const Watch& watch) {
  const std::lock_guard lock(mutex_);
  // What was polled may have been removed meanwhile, and its descriptor numbers used anew.
  const auto same = [&](const Watch& other) {
    return other.mesh == watch.mesh && other.rank == watch.rank;
  };
  if (std::erase_if(watches_, same) == 0) return;
  const auto entry = std::find_if(entries_.begin(), entries_.end(),
                                  [&](const Entry& e) { return e.mesh == watch.mesh; });
  if (entry != entries_.end()) entry->peer_ended(watch.rank);
}

}  // namespace cohort::host
