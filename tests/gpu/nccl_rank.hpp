#pragma once

// One rank of a test of NCCL: a device, streams and graphs on it, and arenas of its memory.

#include <algorithm>
#include <chrono>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "backend/cuda/cuda_backend.hpp"
#include "backend/cuda/nccl/nccl_groups.hpp"
#include "backend/cuda/plugin_loader.hpp"
#include "base/clock.hpp"
#include "support/ranks.hpp"

namespace cohort::cuda {

class NcclRank {
 public:
  explicit NcclRank(World& world)
      : world_(world),
        api_(require_devices()),
        device_(OpenDevice::open(api_, world.rank().index(), world.rank())) {
    ok(api_.create_stream(device_->handle(), &stream_));
  }
  ~NcclRank() { api_.destroy_stream(device_->handle(), stream_); }
  NcclRank(const NcclRank&) = delete;
  NcclRank& operator=(const NcclRank&) = delete;

  const nccl::Api* nccl() const { return loaded_plugin().nccl; }
  const OpenDevice& device() const { return *device_; }
  StreamHandle stream() const { return stream_; }
  host::Domain& domain() const { return world_.domain(); }
  bool is_first() const { return world_.rank().index() == 0; }

  NcclOptions options() const {
    NcclOptions options;
    options.device = device_->index();
    options.device_name = device_->facts().pci;
    options.deadline = deadline();
    return options;
  }
  host::Domain::TimePoint deadline() const {
    return domain().deadline_after(std::chrono::seconds(60));
  }
  /// Of memory that nobody else has mapped.
  std::unique_ptr<Arena> allocate(std::size_t bytes) const {
    return CudaBackend(domain().shared_from_this(), device_).allocate(bytes);
  }
  static std::vector<NcclSegment> segments_of(const Arena& arena) {
    return {{address_of(arena), arena.bytes()}};
  }
  static Address address_of(const Arena& arena) { return OpenDevice::host(arena.local()); }

  void synchronise() const {
    while (!device_->is_done(stream_)) std::this_thread::yield();
  }
  void meet() const { domain().all_gather({}, "meet", deadline()); }

  /// Microseconds of one call in a graph's replay: median over rounds, maximum over ranks.
  double time_us(NcclGroups& groups, std::size_t group, const nccl::Call& call) const {
    constexpr int kCalls = 20;
    constexpr int kRounds = 11;
    groups.run(group, call);
    synchronise();
    GraphHandle graph = nullptr;
    ok(api_.begin_capture(device_->handle(), stream_));
    for (int i = 0; i < kCalls; ++i) groups.run(group, call, true);
    ok(api_.end_capture(device_->handle(), stream_, &graph));
    std::vector<double> times;
    for (int round = 0; round < kRounds; ++round) {
      meet();
      const Stopwatch watch;
      for (int i = 0; i < 4; ++i) ok(api_.launch_graph(device_->handle(), graph, stream_));
      synchronise();
      times.push_back(watch.seconds() * 1e6 / (4 * kCalls));
    }
    api_.destroy_graph(device_->handle(), graph);
    std::ranges::nth_element(times, times.begin() + kRounds / 2);
    return most(times[kRounds / 2]);
  }
  /// The largest of all ranks' numbers.
  double most(double mine) const {
    double largest = mine;
    for (const auto& bytes :
         domain().all_gather(std::as_bytes(std::span(&mine, 1)), "most", deadline())) {
      double theirs = 0;
      std::memcpy(&theirs, bytes.data(), std::min(bytes.size(), sizeof theirs));
      largest = std::max(largest, theirs);
    }
    return largest;
  }

  static void ok(const Status& status) { throw_unless_ok(status, "test"); }

 private:
  World& world_;
  const Api& api_;
  std::shared_ptr<OpenDevice> device_;
  StreamHandle stream_ = nullptr;
};

}  // namespace cohort::cuda
