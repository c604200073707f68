// Whether a rank gets free of NCCL when its peer never comes or dies: over the plugin's table, with
// processes that nothing but NCCL connects.

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "backend/cuda/device.hpp"
#include "backend/cuda/plugin_loader.hpp"
#include "base/clock.hpp"
#include "gpu/devices.hpp"

namespace cohort::cuda {
namespace {

using std::chrono::milliseconds;

enum class Variant : std::uint8_t {
  first_window_peer_killed,
  later_window_peer_killed,
  window_peer_absent,
  connecting_peer_absent,
  connecting_twice_peer_absent,
};
constexpr std::size_t kWindowBytes = std::size_t{16} << 20;
// How long NCCL is watched not to come to an end by itself.
constexpr milliseconds kWatched{300};
constexpr int kSkipped = 77;

/// What parent, survivor and peer share.
struct Shared {
  nccl::UniqueId id;
  std::atomic<bool> has_id;
  std::atomic<std::uint32_t> ready;
  std::atomic<bool> gone;
  std::atomic<bool> over;
  double abort_ms;
  double after_ms;  ///< to connect anew
  bool was_pending;
  bool failed_by_itself;
  std::array<char, 256> text;
};

struct Memory {
  Memory(const std::shared_ptr<OpenDevice>& device, WorldRank rank)
      : memory(DeviceMemory::create(device, kWindowBytes)), range(device, kWindowBytes) {
    range.map(0, kWindowBytes, memory, rank);
  }
  ~Memory() { range.unmap(0, kWindowBytes); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  DeviceMemory memory;
  DeviceRange range;
};

void sleep_until(const std::atomic<bool>& flag) {
  while (!flag) std::this_thread::sleep_for(milliseconds(1));
}

/// Polls until it is done, fails, or the time is over.
Status settle(const nccl::Api& api, nccl::Communicator* communicator, milliseconds limit,
              bool& pending) {
  const auto until = Clock::now() + limit;
  Status status;
  pending = true;
  while (pending && Clock::now() < until && status.code == Status::Code::ok) {
    nccl::Progress progress = nccl::Progress::pending;
    status = api.progress(communicator, &progress);
    pending = progress == nccl::Progress::pending;
    std::this_thread::sleep_for(milliseconds(1));
  }
  return status;
}

void require(const Status& status, bool pending = false) {
  throw_unless_ok(status, "test");
  if (pending) throw Error(ErrorCode::timeout, "NCCL takes too long");
}

nccl::Communicator* connect(const nccl::Api& api, const nccl::UniqueId& id, std::uint32_t members,
                            std::uint32_t self, std::uint32_t device, milliseconds limit) {
  const nccl::Join join{id, members, self, device};
  nccl::Communicator* communicator = nullptr;
  require(api.join(&join, 1, &communicator));
  bool pending = true;
  const Status status = settle(api, communicator, limit, pending);
  if (limit > kWatched) require(status, pending);
  return communicator;
}

/// In one group call, as groups of a plan are.
nccl::Communicator* connect_twice(const nccl::Api& api, const nccl::UniqueId& id,
                                  std::uint32_t self, std::uint32_t device,
                                  nccl::Communicator*& other) {
  nccl::UniqueId second;
  require(api.unique_id(&second));
  const std::array<nccl::Join, 2> joins = {nccl::Join{id, 2, self, device},
                                           nccl::Join{second, 2, self, device}};
  std::array<nccl::Communicator*, 2> joined{};
  require(api.join(joins.data(), 2, joined.data()));
  other = joined[1];
  return joined[0];
}

void add_window(const nccl::Api& api, nccl::Communicator* communicator, const Memory& memory) {
  const Address address = memory.range.base();
  const std::uint64_t bytes = kWindowBytes;
  require(api.add_windows(communicator, &address, &bytes, 1));
}

void run_rank(Variant variant, std::uint32_t rank, std::uint32_t device, Shared& shared) {
  std::string missing;
  const Api* const cuda = find_devices(2, missing);
  const nccl::Api* const api = loaded_plugin().nccl;
  if (cuda == nullptr || api == nullptr) ::_exit(kSkipped);
  nccl::LibraryFacts facts{};
  if (api->load(&facts).code != Status::Code::ok) ::_exit(kSkipped);
  const auto opened = OpenDevice::open(*cuda, device, WorldRank{rank});
  const Memory first(opened, WorldRank{rank});
  const Memory second(opened, WorldRank{rank});
  const bool survivor = rank == 0;
  if (survivor) {
    require(api->unique_id(&shared.id));
    shared.has_id = true;
  }
  sleep_until(shared.has_id);
  const bool twice = variant == Variant::connecting_twice_peer_absent;
  const bool connecting = twice || variant == Variant::connecting_peer_absent;
  if (connecting && !survivor) return sleep_until(shared.over);
  nccl::Communicator* other = nullptr;
  nccl::Communicator* const communicator =
      twice
          ? connect_twice(*api, shared.id, rank, device, other)
          : connect(*api, shared.id, 2, rank, device, connecting ? kWatched : milliseconds(30'000));
  if (variant == Variant::later_window_peer_killed) {
    add_window(*api, communicator, first);
    bool pending = true;
    const Status status = settle(*api, communicator, milliseconds(30'000), pending);
    require(status, pending);
  }
  ++shared.ready;
  while (!connecting && shared.ready < 2) std::this_thread::sleep_for(milliseconds(1));
  if (!survivor) {
    if (variant == Variant::window_peer_absent) return sleep_until(shared.over);
    shared.gone = true;
    ::kill(::getpid(), SIGKILL);
  }
  if (variant != Variant::window_peer_absent && !connecting) {
    sleep_until(shared.gone);
    std::this_thread::sleep_for(milliseconds(200));
  }
  if (!connecting) add_window(*api, communicator, second);
  const Status status = settle(*api, communicator, kWatched, shared.was_pending);
  shared.failed_by_itself = status.code != Status::Code::ok;
  std::snprintf(shared.text.data(), shared.text.size(), "%s", status.text);
  Stopwatch watch;
  api->abort(communicator);
  if (other != nullptr) api->abort(other);
  shared.abort_ms = watch.seconds() * 1e3;
  watch.restart();
  nccl::UniqueId id;
  require(api->unique_id(&id));
  nccl::Communicator* const alone = connect(*api, id, 1, 0, device, milliseconds(30'000));
  shared.after_ms = watch.seconds() * 1e3;
  api->abort(alone);
  shared.over = true;
}

[[noreturn]] void rank_process(Variant variant, std::uint32_t rank, std::uint32_t device,
                               Shared& shared) {
  ::alarm(90);
  try {
    run_rank(variant, rank, device, shared);
  } catch (const std::exception& error) {
    std::printf("rank %u: %s\n", rank, error.what());
    std::fflush(stdout);
    ::_exit(1);
  }
  std::fflush(stdout);
  ::_exit(0);
}

struct Pair {
  Shared* shared = nullptr;
  std::array<pid_t, 2> ranks{};
};

Pair start(Variant variant, std::uint32_t index) {
  void* const memory =
      ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  Pair pair;
  pair.shared = new (memory) Shared{};
  std::fflush(stdout);  // or the children say it once more
  for (std::uint32_t rank = 0; rank < 2; ++rank) {
    pair.ranks[rank] = ::fork();
    if (pair.ranks[rank] == 0) rank_process(variant, rank, (rank + index) % 2, *pair.shared);
  }
  return pair;
}

/// Whether there was anything to see.
bool finish(const Pair& pair, const char* name) {
  int status = 0;
  ::waitpid(pair.ranks[0], &status, 0);
  ::kill(pair.ranks[1], SIGKILL);
  int ignored = 0;
  ::waitpid(pair.ranks[1], &ignored, 0);
  const Shared& shared = *pair.shared;
  if (WIFEXITED(status) && WEXITSTATUS(status) == kSkipped) return false;
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0)
      << name << ": " << (WIFSIGNALED(status) ? "signal " : "exit code ")
      << (WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
  EXPECT_TRUE(shared.over);
  std::printf("ABORT %s: %s, abort %.0f ms, connected anew in %.0f ms\n", name,
              shared.was_pending ? "pending" : shared.text.data(), shared.abort_ms,
              shared.after_ms);
  return true;
}

/// A few at a time: each run is mostly waiting.
void run_often(Variant variant, const char* name, std::uint32_t runs) {
  constexpr std::uint32_t kAtOnce = 5;
  for (std::uint32_t done = 0; done < runs;) {
    std::vector<Pair> pairs;
    while (pairs.size() < kAtOnce && done < runs) pairs.push_back(start(variant, done++));
    bool seen = true;
    for (const Pair& pair : pairs) seen = finish(pair, name) && seen;
    if (!seen) GTEST_SKIP() << "two GPUs and NCCL wanted";
  }
}

// Nothing here may touch CUDA in this process, whose children would inherit it broken.

TEST(GpuNcclAbort, frees_a_rank_in_its_first_registration_whose_peer_was_killed) {
  run_often(Variant::first_window_peer_killed, "first window, peer killed", 10);
}

TEST(GpuNcclAbort, frees_a_rank_in_a_later_registration_whose_peer_was_killed) {
  run_often(Variant::later_window_peer_killed, "later window, peer killed", 5);
}

TEST(GpuNcclAbort, frees_a_rank_whose_peer_never_registers) {
  run_often(Variant::window_peer_absent, "window, peer absent", 5);
}

TEST(GpuNcclAbort, frees_a_rank_whose_peer_never_connects) {
  run_often(Variant::connecting_peer_absent, "connecting, peer absent", 5);
  run_often(Variant::connecting_twice_peer_absent, "connecting twice, peer absent", 5);
}

}  // namespace
}  // namespace cohort::cuda
