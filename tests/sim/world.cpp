#include "sim/world.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <new>
#include <utility>

#include "backend/backend.hpp"
#include "collectives/host/channel.hpp"
#include "support/ranks.hpp"

namespace cohort::sim {
namespace {

constexpr std::size_t kArenaBytesMax = 16 << 20;
constexpr std::size_t kSteps = 12;

/// Deadlines in simulated time, but for joining, which is real.
WaitLimits simulated_limits() {
  WaitLimits limits = test::patient_limits();
  limits.steady = std::chrono::milliseconds(1000);
  limits.stall = std::chrono::milliseconds(300);
  limits.scale = 1;
  return limits;
}

/// Half of the runs count their calls across the wrap, or across that of what `pieces` keeps.
std::uint64_t first_sequence(std::uint64_t seed) noexcept {
  const std::uint64_t before = seed / 4 % 5;
  if (seed % 4 == 1) return std::uint64_t{0} - 1 - before;
  if (seed % 4 == 3) return (std::uint64_t{1} << (64U - host::SyncWords::kPieceBits)) - 1 - before;
  return 0;
}

class SimulatedArena final : public Arena {
 public:
  SimulatedArena(std::span<std::byte* const> bases, host::Domain& domain, std::size_t bytes)
      : bases_(bases), domain_(&domain), bytes_(bytes) {}
  std::size_t bytes() const noexcept override { return bytes_; }
  std::size_t measured_bytes() const override { return bytes_; }
  std::byte* local() const noexcept override { return of(domain_->rank()); }
  void extend(std::size_t bytes) override {
    if (bytes > kArenaBytesMax - bytes_) {
      throw Error(ErrorCode::out_of_memory, "a simulated arena is full");
    }
    bytes_ += bytes;
  }
  void shrink_to(std::size_t bytes) noexcept override { bytes_ = bytes; }
  void map_peers(TimePoint deadline) override { domain_->all_gather({}, "commit", deadline); }
  std::uint64_t registrations() const noexcept override { return 0; }
  std::byte* of(WorldRank rank) const noexcept override { return bases_[rank.index()]; }

 private:
  std::span<std::byte* const> bases_;
  host::Domain* domain_;
  std::size_t bytes_;
};

class SimulatedBackend final : public Backend {
 public:
  SimulatedBackend(std::span<std::byte* const> bases, host::Domain& domain)
      : bases_(bases), domain_(&domain) {}
  std::size_t granule_bytes() const noexcept override { return heap::kGranuleBytes; }
  std::unique_ptr<Arena> allocate(std::size_t bytes, std::size_t /*reserve_bytes*/) override {
    if (bytes > kArenaBytesMax) throw Error(ErrorCode::out_of_memory, "a simulated arena is full");
    return std::make_unique<SimulatedArena>(bases_, *domain_, bytes);
  }

 private:
  std::span<std::byte* const> bases_;
  host::Domain* domain_;
};

}  // namespace

/// One range of addresses for the arena of each rank; the system fills in what is touched.
struct Worlds::Memory {
  Memory() = default;
  ~Memory() {
    for (std::byte* const base : bases) ::munmap(base, kArenaBytesMax);
  }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  void reserve(std::uint32_t rank_count) {
    while (bases.size() < rank_count) {
      void* const base = ::mmap(nullptr, kArenaBytesMax, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      if (base == MAP_FAILED) throw std::bad_alloc();
      bases.push_back(static_cast<std::byte*>(base));
    }
  }
  std::vector<std::byte*> bases;
};

Worlds::Worlds() : memory_(std::make_unique<Memory>()) {}
Worlds::~Worlds() = default;

std::size_t RunEnd::wrong() const noexcept {
  std::size_t count = 0;
  for (const RankEnd& rank : ranks) count += rank.wrong;
  return count;
}

const Error* RunEnd::first_error() const noexcept {
  for (const RankEnd& rank : ranks) {
    if (rank.error) return &*rank.error;
  }
  return nullptr;
}

std::string RunEnd::failure() const {
  std::string text;
  for (const RankEnd& rank : ranks) {
    if (rank.wrong != 0) text += "wrong result: " + rank.first_wrong + "\n";
  }
  for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
    if (!ranks[rank].error) continue;
    text += "rank " + std::to_string(rank) + " ended with " +
            std::string(to_string(ranks[rank].error->code())) + ": " + ranks[rank].error->what() +
            "\n";
  }
  if (text.empty() && clock_moved) text = "every rank waited until the clock moved on\n";
  return text.empty() ? text : text + schedule + "\n";
}

std::vector<World>& Worlds::joined(std::uint32_t rank_count) {
  std::vector<World>& worlds = worlds_[rank_count];
  if (!worlds.empty() && !worlds.front().domain().poisoned()) return worlds;
  worlds.clear();
  std::vector<std::optional<World>> joining(rank_count);
  run_ranks_as_threads(rank_count, [&](std::unique_ptr<Bootstrap> bootstrap) {
    const std::uint32_t rank = bootstrap->rank().index();
    joining[rank] = World::join(std::move(bootstrap), simulated_limits());
  });
  for (std::optional<World>& world : joining) worlds.push_back(std::move(*world));
  return worlds;
}

RunEnd Worlds::run(const Layout& layout, std::span<const std::vector<Step>> programs,
                   std::uint64_t seed, std::string_view left_out) {
  const std::uint32_t rank_count = layout.world_size();
  std::vector<World>& worlds = joined(rank_count);
  memory_->reserve(rank_count);
  const Plan plan = program_plan(layout);
  std::vector<std::unique_ptr<SessionState>> sessions;
  for (std::uint32_t rank = 0; rank < rank_count; ++rank) {
    host::Domain& domain = worlds[rank].domain();
    // A recommit of it takes the generation that the world decides next.
    sessions.push_back(std::make_unique<SessionState>(domain, plan, domain.next_generation() - 1));
    sessions.back()->set_first_sequence(first_sequence(seed));
    SimulatedBackend backend(memory_->bases, domain);
    sessions.back()->allocate(backend);
  }

  RunEnd end;
  end.ranks.resize(rank_count);
  end.proved = seed % 8 == 0;
  Simulation simulation(stacks_, rank_count, seed, left_out);
  simulation.run([&](std::uint32_t rank) {
    RankProgram program(*sessions[rank], WorldRank{rank});
    try {
      host::Domain& domain = worlds[rank].domain();
      sessions[rank]->map_peers(domain.deadline_after(domain.limits().steady));
      if (end.proved) sessions[rank]->prove_slots();
      program.run(programs[rank]);
    } catch (const Error& error) {
      end.ranks[rank].error = error;
      worlds[rank].fail(error);
    }
    end.ranks[rank].wrong = program.wrong();
    end.ranks[rank].first_wrong = program.first_wrong();
    end.ranks[rank].met = program.met();
  });
  end.clock_moved = simulation.clock_moved();
  end.switches = simulation.switches();
  end.schedule_hash = simulation.schedule_hash();
  end.schedule = simulation.schedule();
  return end;
}

RunEnd run_random(Worlds& worlds, std::uint32_t rank_count, std::uint64_t seed,
                  std::string_view left_out) {
  const Layout layout = random_layout(rank_count, seed);
  const std::vector<Step> program = random_program(seed, kSteps);
  return worlds.run(layout, std::vector(rank_count, program), seed, left_out);
}

}  // namespace cohort::sim
