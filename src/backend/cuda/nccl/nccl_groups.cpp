#include "backend/cuda/nccl/nccl_groups.hpp"

#include <sched.h>

#include <algorithm>
#include <cstring>
#include <thread>
#include <utility>

#include "backend/cuda/nccl/patient_end.hpp"
#include "backend/cuda/status_code.hpp"
#include "base/clock.hpp"
#include "base/log.hpp"

namespace cohort::cuda {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

// NCCL tells nobody when it is done, so it is asked: often at first, then as often as a wait of the
// domain looks up anyway. Only the latter sees that an attempt was given up.
constexpr microseconds kPollSlice{200};
constexpr milliseconds kPolledFor{5'000};
constexpr milliseconds kPolledInAttemptFor{200};
// NCCL may notice a dead peer by its sockets before the domain does, which knows more about it.
constexpr milliseconds kDeathNoticedWithin{300};
constexpr milliseconds kEndPatience{10'000};

std::string text_of(const NcclGroupSpec& spec) {
  std::string text = spec.name + " [";
  for (std::size_t i = 0; i < spec.ranks.size(); ++i) {
    text += (i == 0 ? "" : ", ") + std::to_string(spec.ranks[i].index());
  }
  return text + "]";
}

bool is_ok(const Status& status) noexcept {
  return status.code == Status::Code::ok;
}

}  // namespace

NcclGroups::NcclGroups(host::Domain& domain, const nccl::Api* api,
                       std::vector<NcclGroupSpec> groups, const NcclOptions& options)
    : domain_(domain), api_(api), options_(options) {
  for (NcclGroupSpec& spec : groups) {
    Entry& entry = entries_.emplace_back();
    entry.spec = std::move(spec);
    const auto& ranks = entry.spec.ranks;
    const auto found = std::ranges::find(ranks, domain.rank());
    if (found != ranks.end()) entry.self = static_cast<std::uint32_t>(found - ranks.begin());
  }
}

NcclGroups::~NcclGroups() {
  end(true);
}

std::unique_ptr<NcclGroups> NcclGroups::establish(host::Domain& domain, const nccl::Api* api,
                                                  std::vector<NcclGroupSpec> groups,
                                                  std::span<const NcclSegment> arena,
                                                  const NcclOptions& options) {
  std::unique_ptr<NcclGroups> made(new NcclGroups(domain, api, std::move(groups), options));
  made->survey();
  if (!made->support_.refusal.empty()) return made;
  const std::uint64_t before = made->free_bytes();
  made->join(made->exchange_ids());
  made->extend(arena, options.deadline, options.in_attempt);
  const std::uint64_t after = made->free_bytes();
  made->device_bytes_ = before - std::min(before, after);
  return made;
}

void NcclGroups::survey() {
  const NcclFacts mine = facts_of_nccl(api_, options_.device_name);
  for (const auto& bytes : domain_.all_gather(mine.encode(), options_.phase, options_.deadline)) {
    facts_.push_back(NcclFacts::decode(bytes));
  }
  support_ = agree_on_nccl(facts_);
  for (Entry& entry : entries_) {
    entry.refusal =
        support_.refusal.empty() ? refusal_of_group(facts_, entry.spec.ranks) : support_.refusal;
  }
}

/// Each group's first member makes its id; all get them by the order of groups.
std::vector<nccl::UniqueId> NcclGroups::exchange_ids() {
  std::vector<nccl::UniqueId> mine;
  Status status;
  for (const Entry& entry : entries_) {
    if (!entry.refusal.empty() || entry.self != 0U || !is_ok(status)) continue;
    status = api_->unique_id(&mine.emplace_back());
  }
  if (!is_ok(status)) fail("begin to connect", status);
  const auto all =
      domain_.all_gather(std::as_bytes(std::span(mine)), options_.phase, options_.deadline);
  std::vector<std::size_t> taken(all.size());
  std::vector<nccl::UniqueId> ids(entries_.size());
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    if (!entries_[i].refusal.empty()) continue;
    const WorldRank leader = entries_[i].spec.ranks.front();
    const auto& theirs = all[leader.index()];
    const std::size_t begin = taken[leader.index()]++ * sizeof(nccl::UniqueId);
    if (theirs.size() < begin + sizeof(nccl::UniqueId)) {
      domain_.fail(Error(ErrorCode::corrupt,
                         "rank " + std::to_string(leader.index()) + " sent no id for group " +
                             text_of(entries_[i].spec),
                         leader, options_.phase));
    }
    std::memcpy(&ids[i], theirs.data() + begin, sizeof(nccl::UniqueId));
  }
  return ids;
}

void NcclGroups::join(const std::vector<nccl::UniqueId>& ids) {
  std::vector<nccl::Join> joins;
  std::vector<Entry*> joining;
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    Entry& entry = entries_[i];
    if (!entry.refusal.empty() || !entry.self) continue;
    joins.push_back({ids[i], static_cast<std::uint32_t>(entry.spec.ranks.size()), *entry.self,
                     options_.device});
    joining.push_back(&entry);
  }
  std::vector<nccl::Communicator*> joined(joins.size());
  Status status;
  if (!joins.empty()) {
    status = api_->join(joins.data(), static_cast<std::uint32_t>(joins.size()), joined.data());
  }
  for (std::size_t i = 0; i < joining.size(); ++i) {
    joining[i]->communicator = joined[i];
    joining[i]->pending = joined[i] != nullptr;
  }
  if (!is_ok(status)) fail("begin to connect", status);
  settle("connect");
  domain_.all_gather({}, options_.phase, options_.deadline);
}

void NcclGroups::extend(std::span<const NcclSegment> added, TimePoint deadline, bool in_attempt) {
  options_.deadline = deadline;
  options_.in_attempt = in_attempt;
  if (!support_.refusal.empty()) return;
  const bool wanted = support_.windows_refusal.empty() && !added.empty();
  bool complete = true;
  for (Entry& entry : entries_) {
    if (!wanted || entry.communicator == nullptr) continue;
    add_windows(entry, added);
    complete =
        complete && api_->window_count(entry.communicator) == segments_.size() + added.size();
  }
  agree_on_windows(complete);
  if (support_.windows_refusal.empty()) {
    segments_.insert(segments_.end(), added.begin(), added.end());
  }
}

void NcclGroups::add_windows(Entry& entry, std::span<const NcclSegment> added) {
  std::vector<Address> addresses;
  std::vector<std::uint64_t> bytes;
  for (const NcclSegment& segment : added) {
    addresses.push_back(segment.address);
    bytes.push_back(segment.bytes);
  }
  entry.pending = true;
  const Status status = api_->add_windows(entry.communicator, addresses.data(), bytes.data(),
                                          static_cast<std::uint32_t>(added.size()));
  const std::string what = "register the arena on " + text_of(entry.spec);
  if (!is_ok(status)) fail(what, status);
  settle(what);
}

/// NCCL answers "no window" where a device cannot, and that may differ from rank to rank.
void NcclGroups::agree_on_windows(bool complete) {
  const auto mine = static_cast<std::byte>(complete);
  const auto all = domain_.all_gather(std::span(&mine, 1), options_.phase, options_.deadline);
  for (std::size_t rank = 0; rank < all.size(); ++rank) {
    if (!all[rank].empty() && all[rank].front() != std::byte{0}) continue;
    support_.windows_refusal =
        "rank " + std::to_string(rank) + ": NCCL gives no window on this device";
    shrink_to(0);
    return;
  }
}

void NcclGroups::shrink_to(std::size_t kept) {
  for (auto entry = entries_.rbegin(); entry != entries_.rend(); ++entry) {
    if (entry->communicator == nullptr) continue;
    const Status status = api_->drop_windows(entry->communicator, static_cast<std::uint32_t>(kept));
    if (!is_ok(status)) log(LogLevel::warning, std::string("NCCL: ") + status.text);
  }
  segments_.resize(std::min(segments_.size(), kept));
}

/// Asks everything that is pending how it goes. True once nothing is, or something failed.
bool NcclGroups::poll(Status& failure) noexcept {
  bool all_done = true;
  for (Entry& entry : entries_) {
    if (!entry.pending) continue;
    nccl::Progress progress = nccl::Progress::pending;
    failure = api_->progress(entry.communicator, &progress);
    if (!is_ok(failure)) return true;
    entry.pending = progress == nccl::Progress::pending;
    all_done = all_done && !entry.pending;
  }
  return all_done;
}

void NcclGroups::settle(std::string_view what) {
  const std::string doing = "letting NCCL " + std::string(what);
  const milliseconds polled_for = options_.in_attempt ? kPolledInAttemptFor : kPolledFor;
  const TimePoint polled_until = std::min(options_.deadline, Clock::now() + polled_for);
  Status failure;
  bool over = poll(failure);
  while (!over && Clock::now() < polled_until) {
    domain_.check(doing, options_.phase);
    std::this_thread::sleep_for(kPollSlice);
    over = poll(failure);
  }
  if (!over) {
    const auto pending = std::ranges::find(entries_, true, &Entry::pending);
    const auto& ranks = pending->spec.ranks;
    const WorldRank next = ranks[(*pending->self + 1) % ranks.size()];
    options_.deadline = domain_.wait_until(
        next, options_.deadline, [&] { return poll(failure); },
        [&] {
          return host::WaitSubject{options_.phase, doing};
        });
  }
  if (!is_ok(failure)) fail(std::string(what), failure);
}

void NcclGroups::fail(const std::string& what, const Status& status) {
  const TimePoint patience = domain_.deadline_after(kDeathNoticedWithin);
  do {
    domain_.check("letting NCCL " + what, options_.phase);
    std::this_thread::sleep_for(milliseconds(2));
  } while (Clock::now() < patience);
  const WorldRank rank = domain_.rank();
  const Error error(
      error_code_of(status.code, ErrorCode::nccl),
      "NCCL could not " + what + " on rank " + std::to_string(rank.index()) + ": " + status.text,
      rank, options_.phase);
  if (!options_.in_attempt) domain_.fail(error);
  throw error;
}

NcclGroups::Entry& NcclGroups::member(std::size_t group) {
  Entry& entry = entries_.at(group);
  if (entry.communicator != nullptr) return entry;
  throw Error(ErrorCode::usage,
              "rank " + std::to_string(domain_.rank().index()) + " has no communicator of group " +
                  text_of(entry.spec) +
                  (entry.refusal.empty() ? ": it is no member" : ": " + entry.refusal),
              domain_.rank(), options_.phase);
}

nccl::PathAnswer NcclGroups::path(std::size_t group, nccl::PathQuery query) const {
  const Entry& entry = entries_.at(group);
  if (!entry.refusal.empty()) return {nccl::CallPath::refused, entry.refusal};
  if (query.op == Op::all_to_all && !support_.has_all_to_all) {
    return {nccl::CallPath::refused, "this NCCL has no such operation"};
  }
  query.members = static_cast<std::uint32_t>(entry.spec.ranks.size());
  query.registers_operands = support_.registers_operands;
  const bool windows = support_.windows_refusal.empty();
  query.input_in_window = query.input_in_window && windows;
  query.output_in_window = query.output_in_window && windows;
  const nccl::PathAnswer answer = path_of(support_.version, query);
  if (answer.path != nccl::CallPath::plain || windows) return answer;
  return {nccl::CallPath::plain, support_.windows_refusal};
}

bool NcclGroups::is_in_window(Address address, std::uint64_t bytes) const noexcept {
  return std::ranges::any_of(segments_, [&](const NcclSegment& segment) {
    return address >= segment.address && bytes <= segment.bytes &&
           address - segment.address <= segment.bytes - bytes;
  });
}

void NcclGroups::run(std::size_t group, const nccl::Call& call, bool captured) {
  Entry& entry = member(group);
  options_.deadline = domain_.deadline_after(domain_.limits().steady);
  options_.in_attempt = false;
  const auto what = [&] {
    return "call " + std::string(to_string(call.op)) + " on " + text_of(entry.spec);
  };
  Status failure = api_->call(entry.communicator, &call);
  if (!is_ok(failure)) fail(what(), failure);
  entry.pending = true;
  for (std::uint32_t round = 1; !poll(failure); ++round) {
    if (round % 64 != 0) continue;
    if (domain_.poisoned() || Clock::now() > options_.deadline) settle(what());
    ::sched_yield();
  }
  if (is_ok(failure) && !captured) failure = api_->mark(entry.communicator, call.stream);
  if (!is_ok(failure)) fail(what(), failure);
}

/// Windows must not go while a kernel of the caller's stream still uses them.
void NcclGroups::await_marks() {
  for (const Entry& entry : entries_) {
    if (entry.communicator == nullptr) continue;
    const auto& ranks = entry.spec.ranks;
    Status failure;
    bool reached = false;
    const auto look = [&] {
      failure = api_->mark_reached(entry.communicator, &reached);
      return reached || !is_ok(failure);
    };
    if (!look()) {
      domain_.wait_until(ranks[(*entry.self + 1) % ranks.size()], options_.deadline, look, [&] {
        return host::WaitSubject{options_.phase,
                                 "waiting for NCCL's calls on " + text_of(entry.spec)};
      });
    }
    if (!is_ok(failure)) fail("end its calls on " + text_of(entry.spec), failure);
  }
}

void NcclGroups::warm(std::size_t group, nccl::Call call, TimePoint deadline) {
  while (true) {
    run(group, call);
    if (call.count <= 1) break;
    call.count = std::max<std::uint64_t>(call.count / 4, 1);
  }
  const Entry& entry = member(group);
  const WorldRank next = entry.spec.ranks[(*entry.self + 1) % entry.spec.ranks.size()];
  Status failure;
  const auto done = [&] {
    bool ended = false;
    failure = api_->stream_done(options_.device, call.stream, &ended);
    return ended || !is_ok(failure);
  };
  const std::string doing =
      "warming " + std::string(to_string(call.op)) + " on " + text_of(entry.spec);
  for (int round = 0; round < 2'000 && !done(); ++round) std::this_thread::sleep_for(kPollSlice);
  domain_.wait_until(next, deadline, done, [&] {
    return host::WaitSubject{options_.phase, doing};
  });
  if (!is_ok(failure)) fail("warm " + std::string(to_string(call.op)), failure);
}

void NcclGroups::close(TimePoint deadline) {
  options_.deadline = deadline;
  options_.in_attempt = false;
  await_marks();
  domain_.all_gather({}, options_.phase, deadline);
  shrink_to(0);
  for (Entry& entry : entries_) {
    if (entry.communicator == nullptr) continue;
    const Status status = api_->finalize(entry.communicator);
    if (!is_ok(status)) fail("end " + text_of(entry.spec), status);
    entry.pending = true;
  }
  settle("end");
  domain_.all_gather({}, options_.phase, options_.deadline);
  end(false);
}

/// Local but for `destroy`, which waits for peers that were seen to do the same.
void NcclGroups::end(bool abort) noexcept {
  std::vector<nccl::Communicator*> communicators;
  // What is pending first: the others may be waiting for the same thread of NCCL's.
  for (const bool pending : {true, false}) {
    for (Entry& entry : entries_) {
      if (entry.communicator == nullptr || entry.pending != pending) continue;
      communicators.push_back(std::exchange(entry.communicator, nullptr));
    }
  }
  if (communicators.empty()) return;
  auto* const step = abort ? api_->abort : api_->destroy;
  const auto work = [step, communicators] {
    for (nccl::Communicator* communicator : communicators) step(communicator);
  };
  if (!end_within(domain_.deadline_after(kEndPatience), work)) {
    log(LogLevel::warning, "NCCL does not end its communicators: they are left behind");
  }
}

std::uint64_t NcclGroups::free_bytes() const {
  std::uint64_t bytes = 0;
  return is_ok(api_->free_bytes(options_.device, &bytes)) ? bytes : 0;
}

}  // namespace cohort::cuda
