// One rank that plays a scenario: rank_program SCENARIO [VICTIM [EXIT_CODE]]. What the launcher's
// tests start, kill and stop.

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <map>
#include <string>
#include <thread>

#include <cohort/bootstrap.hpp>
#include <cohort/world.hpp>

#include "backend/host/domain.hpp"
#include "backend/host/host_backend.hpp"
#include "base/clock.hpp"
#include "rendezvous/launched_rank.hpp"

namespace cohort {
namespace {

using namespace std::chrono_literals;

struct Scene {
  WorldRank victim;
  int exit_code = 0;
};

WaitLimits limits(std::chrono::milliseconds setup = 60s, std::chrono::milliseconds steady = 60s) {
  WaitLimits limits;
  limits.setup = setup;
  limits.steady = steady;
  limits.scale = deadline_scale_from_environment();
  return limits;
}

World join(const WaitLimits& wait_limits = limits()) {
  return World::join(Bootstrap::from_environment(), wait_limits);
}

void wait_for(World& world, WorldRank peer) {
  world.domain().wait_for(
      peer, world.limits().steady, [] { return false; },
      [] {
        return host::WaitSubject{"all_reduce", "all_reduce on tp [0, 1, 2], call 17"};
      });
}

void await_waiters(World& world) {
  for (std::uint32_t rank = 0; rank < world.size(); ++rank) {
    while (WorldRank{rank} != world.rank() && !world.domain().waiting(WorldRank{rank})) {
      std::this_thread::sleep_for(1ms);
    }
  }
}

/// Dies as soon as it has told the others where it is.
class DyingBootstrap final : public Bootstrap {
 public:
  explicit DyingBootstrap(std::unique_ptr<Bootstrap> inner) : inner_(std::move(inner)) {}
  WorldRank rank() const noexcept override { return inner_->rank(); }
  std::uint32_t world_size() const noexcept override { return inner_->world_size(); }
  std::vector<std::vector<std::byte>> all_gather(std::span<const std::byte> mine,
                                                 TimePoint deadline) override {
    inner_->all_gather(mine, deadline);
    std::raise(SIGKILL);
    std::abort();
  }

 private:
  std::unique_ptr<Bootstrap> inner_;
};

int gather(const Scene&) {
  World world = join();
  host::Domain& domain = world.domain();
  const auto mine = static_cast<std::byte>(world.rank().index());
  const auto all = domain.all_gather({&mine, 1}, "test", domain.deadline_after(60s));
  std::string line = "rank " + std::to_string(world.rank().index()) + " sees";
  for (const auto& bytes : all) line += " " + std::to_string(std::to_integer<int>(bytes.at(0)));
  std::cout << line + "\n" << std::flush;
  return 0;
}

/// A process may join as often as it likes, as long as all do.
int gather_twice(const Scene& scene) {
  gather(scene);
  return gather(scene);
}

int kill_before_join(const Scene& scene) {
  auto bootstrap = Bootstrap::from_environment();
  if (bootstrap->rank() == scene.victim) std::raise(SIGKILL);
  World::join(std::move(bootstrap), limits());
  return 0;
}

int kill_in_join(const Scene& scene) {
  auto bootstrap = Bootstrap::from_environment();
  if (bootstrap->rank() == scene.victim) {
    bootstrap = std::make_unique<DyingBootstrap>(std::move(bootstrap));
  }
  World::join(std::move(bootstrap), limits());
  return 0;
}

int kill_in_wait(const Scene& scene) {
  World world = join();
  if (world.rank() != scene.victim) wait_for(world, scene.victim);
  await_waiters(world);
  std::raise(SIGKILL);
  return 0;
}

int work_until_fault(World world) {
  while (true) {
    world.check("loading layer 3");
    std::this_thread::sleep_for(1ms);
  }
}

int work(const Scene&) {
  return work_until_fault(join());
}

int kill_in_work(const Scene& scene) {
  World world = join();
  if (world.rank() == scene.victim) std::raise(SIGKILL);
  return work_until_fault(std::move(world));
}

int stop(const Scene& scene) {
  World world = join(limits(60s, 1500ms));
  if (world.rank() != scene.victim) wait_for(world, scene.victim);
  await_waiters(world);
  std::raise(SIGSTOP);
  return 0;
}

int late(const Scene& scene) {
  auto bootstrap = Bootstrap::from_environment();
  if (bootstrap->rank() == scene.victim) std::this_thread::sleep_for(1h);
  World::join(std::move(bootstrap), limits(1500ms));
  return 0;
}

int fail(const Scene& scene) {
  World world = join();
  if (world.rank() == scene.victim) {
    const Error error(ErrorCode::corrupt, "model.gguf is torn", world.rank(), "load");
    world.fail(error);
    throw error;
  }
  wait_for(world, scene.victim);
  return 0;
}

int leave(const Scene& scene) {
  World world = join();
  if (world.rank() == scene.victim) return scene.exit_code;
  wait_for(world, scene.victim);
  return 0;
}

int exit_without_leaving(const Scene& scene) {
  World world = join();
  if (world.rank() == scene.victim) ::_exit(scene.exit_code);
  wait_for(world, scene.victim);
  return 0;
}

int linger(const Scene&) {
  World world = join();
  world.domain().all_gather({}, "all here", world.domain().deadline_after(60s));
  if (world.rank() == WorldRank{0}) std::cout << "ready" << std::endl;
  while (true) std::this_thread::sleep_for(1h);
}

int linger_stubbornly(const Scene& scene) {
  std::signal(SIGINT, SIG_IGN);
  std::signal(SIGTERM, SIG_IGN);
  return linger(scene);
}

int linger_with_one_stopped(const Scene& scene) {
  World world = join();
  world.domain().all_gather({}, "all here", world.domain().deadline_after(60s));
  if (world.rank() == WorldRank{0}) std::cout << "ready" << std::endl;
  if (world.rank() == scene.victim) std::raise(SIGSTOP);
  while (true) std::this_thread::sleep_for(1h);
}

/// Not a scenario of processes: two ranks as threads write one word without order between them. A
/// thread sanitizer that does not see this would see nothing else in shared memory either.
int race(const Scene&) {
  run_ranks_as_threads(2, [](std::unique_ptr<Bootstrap> bootstrap) {
    World world = World::join(std::move(bootstrap), limits());
    host::Domain& domain = world.domain();
    const auto arena = host::HostBackend(domain.shared_from_this()).allocate(4096);
    arena->map_peers(domain.deadline_after(60s));
    auto* const word = reinterpret_cast<volatile int*>(arena->of(WorldRank{0}));
    for (int turn = 0; turn < 1000; ++turn) *word = *word + 1;
    domain.all_gather({}, "done", domain.deadline_after(60s));
  });
  return 0;
}

const std::map<std::string, std::function<int(const Scene&)>> kScenarios{
    {"gather", gather},
    {"gather_twice", gather_twice},
    {"kill_before_join", kill_before_join},
    {"kill_in_join", kill_in_join},
    {"kill_in_wait", kill_in_wait},
    {"kill_in_work", kill_in_work},
    {"work", work},
    {"stop", stop},
    {"late", late},
    {"fail", fail},
    {"leave", leave},
    {"exit_without_leaving", exit_without_leaving},
    {"linger", linger},
    {"linger_stubbornly", linger_stubbornly},
    {"linger_with_one_stopped", linger_with_one_stopped},
    {"race", race},
};

int play(int argument_count, char** arguments) {
  Scene scene;
  if (argument_count > 2)
    scene.victim = WorldRank{static_cast<std::uint32_t>(std::atoi(arguments[2]))};
  if (argument_count > 3) scene.exit_code = std::atoi(arguments[3]);
  try {
    return kScenarios.at(arguments[1])(scene);
  } catch (const Error& error) {
    if (!report_error(error)) std::cerr << error.what() << std::endl;
    return error.exit_code();
  }
}

}  // namespace
}  // namespace cohort

int main(int argument_count, char** arguments) {
  return cohort::play(argument_count, arguments);
}
