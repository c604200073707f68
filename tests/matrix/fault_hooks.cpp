#include "matrix/fault_hooks.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <fstream>
#include <new>
#include <string>
#include <thread>

#include "backend/host/control_segment.hpp"
#include "base/clock.hpp"
#include "collectives/host/channel.hpp"
#include "heap/plan_text.hpp"

namespace cohort::matrix {
namespace {

using std::chrono::milliseconds;

// Longer than the stall limit of `short_limits`, shorter than its deadlines.
constexpr milliseconds kDelay{400};
// Enough for bookkeeping, not for a segment of the arena.
constexpr rlim_t kAddressSlackBytes = rlim_t{256} << 10;

void set_soft_limit(int resource, rlim_t value) {
  rlimit limit{};
  ::getrlimit(static_cast<__rlimit_resource>(resource), &limit);
  limit.rlim_cur = std::min(value, limit.rlim_max);
  ::setrlimit(static_cast<__rlimit_resource>(resource), &limit);
}

rlim_t address_bytes() {
  std::uint64_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  return pages * static_cast<rlim_t>(::sysconf(_SC_PAGESIZE));
}

rlim_t lowest_free_descriptor() {
  const UniqueFd fd(::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0));
  return static_cast<rlim_t>(std::max(fd.get(), 0));
}

/// The same bytes every time, and nothing that anybody sends.
void scramble(std::span<std::byte> bytes) {
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * 151 + 97);
}

}  // namespace

FaultHooks::FaultHooks(const FaultCase& fault_case, Board& board, const Plan& honest)
    : case_(&fault_case), board_(&board), honest_(&honest) {
  if (case_->fault != Fault::other_object) return;
  object_.reset(::memfd_create("something-else", MFD_CLOEXEC));
}

FaultHooks::~FaultHooks() {
  if (case_->fault == Fault::addresses) set_soft_limit(RLIMIT_AS, RLIM_INFINITY);
  if (case_->fault == Fault::descriptors) set_soft_limit(RLIMIT_NOFILE, RLIM_INFINITY);
}

void FaultHooks::enter(Phase phase) noexcept {
  phase_ = phase;
  seen_ = 0;
  messages_seen_ = 0;
}

bool FaultHooks::is_time(std::string_view name) noexcept {
  if (phase_ != case_->step->phase || name != case_->step->name) return false;
  return ++seen_ == case_->step->nth;
}

void FaultHooks::fire() {
  board_->ranks[case_->victim].fired_ns.store(now_ns());
}

void FaultHooks::wait_for_others() const {
  for (std::uint32_t rank = 0; rank < case_->rank_count; ++rank) {
    const RankCell& cell = board_->ranks[rank];
    while (rank != case_->victim && cell.worlds[0].state.load() == WorldEnd::none &&
           cell.ended.load() == 0) {
      std::this_thread::sleep_for(milliseconds(2));
    }
  }
}

void FaultHooks::reach(std::string_view point) {
  if (case_->step->is_message || !is_time(point)) return;
  fire();
  switch (case_->fault) {
    case Fault::kill: std::raise(SIGKILL); return;
    case Fault::stop: std::raise(SIGSTOP); return;
    case Fault::late: wait_for_others(); return;
    case Fault::delay:
      std::this_thread::sleep_for(kDelay * deadline_scale_from_environment());
      return;
    case Fault::memory: throw std::bad_alloc();
    case Fault::addresses: set_soft_limit(RLIMIT_AS, address_bytes() + kAddressSlackBytes); return;
    case Fault::descriptors: set_soft_limit(RLIMIT_NOFILE, lowest_free_descriptor()); return;
    default: return;  // plan and digest: the plan that the victim commits says it
  }
}

void FaultHooks::alter(std::string_view name, std::vector<std::byte>& bytes, int& fd) {
  const std::string step = name == "descriptor" ? std::string(to_string(phase_)) + " descriptor"
                                                : std::string(to_string(phase_)) + " " +
                                                      std::string(name.substr(name.find('.') + 1));
  if (!case_->step->is_message) return;
  // A handshake goes wrong with all that it is for.
  const bool every = case_->step->name == "join handshake" && step == case_->step->name;
  if (!every && !is_time(step)) return;
  fire();
  switch (case_->fault) {
    case Fault::truncated: bytes.resize(bytes.size() / 2 + 1); return;
    case Fault::garbage: scramble(bytes); return;
    case Fault::magic: bytes.front() ^= std::byte{1}; return;
    // Behind magic and ABI: how long the version is.
    case Fault::size:
      bytes.at(sizeof(std::uint64_t) + sizeof(std::uint32_t) + 6) = std::byte{255};
      return;
    case Fault::no_descriptor: fd = -1; return;
    case Fault::other_object: fd = object_.get(); return;
    default: return;
  }
}

void FaultHooks::alter_words(std::string_view name, std::span<std::byte> bytes) {
  if (case_->fault == Fault::digest && phase_ == Phase::commit && name == "commit") {
    if (++messages_seen_ != 1) return;
    auto& chunk = *reinterpret_cast<host::MailChunk*>(bytes.data());
    const auto digest = heap::plan_digest(*honest_);
    std::ranges::copy(std::as_bytes(std::span(digest)), chunk.bytes.begin());
    return;
  }
  if (!case_->step->is_message) return;
  const bool header = name == "call.header" || name == "send.header";
  const std::string step = header ? std::string(name.substr(0, 4)) + " header"
                                  : std::string(to_string(phase_)) + " words";
  if (!is_time(step)) return;
  fire();
  header ? alter_header(bytes) : alter_mail(bytes);
}

void FaultHooks::alter_mail(std::span<std::byte> bytes) const {
  auto& chunk = *reinterpret_cast<host::MailChunk*>(bytes.data());
  if (case_->fault == Fault::garbage) scramble(std::as_writable_bytes(std::span(chunk.phase)));
  if (case_->fault == Fault::truncated) chunk.total_bytes += 100;
  if (case_->fault == Fault::size) chunk.total_bytes = ~std::uint64_t{0} / 2;
}

void FaultHooks::alter_header(std::span<std::byte> bytes) const {
  auto& place = *reinterpret_cast<host::HeaderPlace*>(bytes.data());
  if (case_->fault == Fault::garbage) place.hash ^= 0x5A5A'5A5A'5A5A'5A5AU;
  // The first of the payload is where in the arena the operand lies.
  if (case_->fault == Fault::size)
    std::fill_n(place.payload, sizeof(std::uint64_t), std::byte{127});
}

}  // namespace cohort::matrix
