#include "sim/simulation.hpp"

#include <cxxabi.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <new>

namespace cohort::sim {

Stacks::~Stacks() {
  for (void* const stack : stacks_) ::munmap(stack, kBytes);
}

void* Stacks::stack(std::uint32_t index) {
  while (stacks_.size() <= index) {
    void* const memory =
        ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    stacks_.push_back(memory);
  }
  return stacks_[index];
}

Simulation::Simulation(Stacks& stacks, std::uint32_t rank_count, std::uint64_t seed,
                       std::string_view left_out)
    : stacks_(&stacks), scheduler_(seed, rank_count), left_out_(left_out) {
  for (std::uint32_t rank = 0; rank < rank_count; ++rank) {
    fibers_.push_back(std::make_unique<Fiber>());
  }
}

Simulation::~Simulation() = default;

void Simulation::enter() {
  auto& simulation = static_cast<Simulation&>(*test_hooks());
  const std::uint32_t rank = simulation.current_;
  simulation.body_(rank);
  simulation.fibers_[rank]->ended = true;
  simulation.note("end");
  simulation.leave_for(simulation.choose());
}

void Simulation::run(const std::function<void(std::uint32_t)>& body) {
  body_ = body;
  for (std::uint32_t rank = 0; rank < fibers_.size(); ++rank) {
    ucontext_t& context = fibers_[rank]->context;
    ::getcontext(&context);
    context.uc_stack.ss_sp = stacks_->stack(rank);
    context.uc_stack.ss_size = Stacks::kBytes;
    context.uc_link = nullptr;
    ::makecontext(&context, &Simulation::enter, 0);
  }
  TestHooks* const before = std::exchange(test_hooks(), this);
  next_ = choose();
  const auto all_ended = [this] {
    return std::all_of(fibers_.begin(), fibers_.end(), [](const auto& f) { return f->ended; });
  };
  while (!all_ended()) resume(next_);
  test_hooks() = before;
}

/// The rank that goes on; lets time pass until there is one.
std::uint32_t Simulation::choose() {
  while (true) {
    runnable_.clear();
    std::optional<TimePoint> earliest;
    for (std::uint32_t rank = 0; rank < fibers_.size(); ++rank) {
      const Fiber& fiber = *fibers_[rank];
      if (fiber.ended) continue;
      if (!fiber.wait || now_ >= fiber.wait->until || fiber.wait->awake()) {
        runnable_.push_back(rank);
      } else {
        earliest = std::min(earliest.value_or(fiber.wait->until), fiber.wait->until);
      }
    }
    if (!runnable_.empty()) return scheduler_.choose(runnable_);
    if (!earliest) return 0;  // all have ended
    now_ = *earliest;
    clock_moved_ = true;
  }
}

void Simulation::leave_for(std::uint32_t next) {
  if (next == current_ && !fibers_[current_]->ended) return;
  next_ = next;
  ::swapcontext(&fibers_[current_]->context, &main_);
}

void Simulation::resume(std::uint32_t rank) {
  ++switches_;
  current_ = rank;
  Fiber& fiber = *fibers_[rank];
  auto* const exceptions = abi::__cxa_get_globals();
  static_assert(sizeof fiber.exceptions >= sizeof(void*) + sizeof(unsigned));
  std::memcpy(exceptions, fiber.exceptions.data(), sizeof fiber.exceptions);
  ::swapcontext(&main_, &fiber.context);
  std::memcpy(fiber.exceptions.data(), exceptions, sizeof fiber.exceptions);
  std::memset(exceptions, 0, sizeof fiber.exceptions);
}

void Simulation::note(std::string_view point) {
  last_visits_[visits_ % last_visits_.size()] = {current_, point};
  ++visits_;
  // Its last letter and its length tell a point from most others.
  const std::uint64_t visit = std::uint64_t{current_} << 32U | point.size() << 16U |
                              static_cast<std::uint64_t>(static_cast<unsigned char>(point.back()));
  schedule_hash_ = (schedule_hash_ ^ visit) * 0x9E3779B97F4A7C15U;
  schedule_hash_ ^= schedule_hash_ >> 29U;
}

void Simulation::reach(std::string_view point) {
  note(point);
  leave_for(choose());
}

void Simulation::sleep(FunctionRef<bool()> awake, TimePoint until) {
  note("wait");
  Fiber& fiber = *fibers_[current_];
  fiber.wait.emplace(Wait{awake, until});
  leave_for(choose());
  fiber.wait.reset();
}

std::string Simulation::schedule() const {
  std::string text = std::string(to_string(scheduler_.policy())) + ", " + std::to_string(visits_) +
                     " points passed, the last:";
  const std::uint64_t shown = std::min<std::uint64_t>(visits_, last_visits_.size());
  for (std::uint64_t i = visits_ - shown; i < visits_; ++i) {
    const Visit& visit = last_visits_[i % last_visits_.size()];
    text += " " + std::to_string(visit.rank) + ":" + std::string(visit.point);
  }
  return text;
}

}  // namespace cohort::sim
