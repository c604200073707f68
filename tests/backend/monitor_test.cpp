#include "backend/host/monitor.hpp"

#include <sys/socket.h>

#include <array>
#include <atomic>
#include <chrono>
#include <thread>

#include <gtest/gtest.h>

namespace cohort::host {
namespace {

using namespace std::chrono_literals;

class MonitorTest : public testing::Test {
 protected:
  /// A mesh of rank 0 with peers whose other ends are in `theirs_`.
  Mesh make_mesh(std::size_t rank_count) {
    Mesh mesh;
    mesh.peers.resize(rank_count);
    theirs_.resize(rank_count);
    for (std::size_t rank = 1; rank < rank_count; ++rank) {
      std::array<int, 2> ends{};
      EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()), 0);
      mesh.peers[rank].socket.reset(ends[0]);
      theirs_[rank].reset(ends[1]);
    }
    return mesh;
  }

  template <typename Condition>
  static bool becomes_true(const Condition& condition) {
    const auto deadline = std::chrono::steady_clock::now() + 60s;
    while (!condition()) {
      if (std::chrono::steady_clock::now() >= deadline) return false;
      std::this_thread::sleep_for(1ms);
    }
    return true;
  }

  std::vector<UniqueFd> theirs_;
};

TEST_F(MonitorTest, TellsOnceAboutEachPeerThatEnds) {
  const Mesh mesh = make_mesh(4);
  std::array<std::atomic<int>, 4> ends{};
  const auto monitor = Monitor::shared();
  monitor->add(mesh, [&](WorldRank rank) { ends[rank.index()].fetch_add(1); });
  theirs_[2].reset();
  EXPECT_TRUE(becomes_true([&] { return ends[2].load() == 1; }));
  theirs_[1].reset();
  EXPECT_TRUE(becomes_true([&] { return ends[1].load() == 1; }));
  std::this_thread::sleep_for(20ms);
  EXPECT_EQ(ends[2].load(), 1);
  EXPECT_EQ(ends[3].load(), 0);
  monitor->remove(mesh);
}

TEST_F(MonitorTest, NoticesAnEndBehindUnreadMessages) {
  const Mesh mesh = make_mesh(2);
  ASSERT_EQ(::send(theirs_[1].get(), "unread", 6, 0), 6);
  std::atomic<int> ends{0};
  const auto monitor = Monitor::shared();
  monitor->add(mesh, [&](WorldRank) { ends.fetch_add(1); });
  std::this_thread::sleep_for(5ms);
  EXPECT_EQ(ends.load(), 0);
  theirs_[1].reset();
  EXPECT_TRUE(becomes_true([&] { return ends.load() == 1; }));
  monitor->remove(mesh);
}

TEST_F(MonitorTest, TellsNothingAfterRemoval) {
  for (int turn = 0; turn < 100; ++turn) {
    auto ends = std::make_unique<std::atomic<int>>(0);
    Mesh mesh = make_mesh(3);
    const auto monitor = Monitor::shared();
    monitor->add(mesh, [counter = ends.get()](WorldRank) { counter->fetch_add(1); });
    std::thread closing([this] { theirs_[1].reset(); });
    monitor->remove(mesh);
    ends.reset();  // an address sanitizer sees a call from here on
    closing.join();
  }
}

TEST_F(MonitorTest, IsOnePerProcessAndEndsWithItsLastHolder) {
  auto first = Monitor::shared();
  EXPECT_EQ(Monitor::shared(), first);
  const std::weak_ptr<Monitor> watched = first;
  first.reset();
  EXPECT_TRUE(watched.expired());
}

}  // namespace
}  // namespace cohort::host
