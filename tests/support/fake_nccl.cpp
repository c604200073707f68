#include "support/fake_nccl.hpp"

#include <algorithm>
#include <bit>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "collectives/host/reduce.hpp"
#include "support/fake_cuda.hpp"

namespace cohort::cuda::nccl {

/// What the members of a communicator share.
struct Clique {
  std::uint32_t joined = 0;
  std::vector<std::uint32_t> registrations;
  std::vector<Call> calls;
  std::uint32_t arrived = 0;
  std::uint32_t rounds = 0;
  bool ended = false;  ///< a member has gone: nothing more comes of it
};

struct FakeWindow {
  Address address = 0;
  std::uint64_t bytes = 0;
  bool is_there = false;
};

enum class Step : std::uint8_t { join, add_windows, call, finalize };

struct Communicator {
  std::shared_ptr<Clique> clique;
  std::uint32_t members = 0;
  std::uint32_t self = 0;
  Step step = Step::join;
  std::uint32_t target = 0;  ///< registrations or rounds that end the step
  std::vector<FakeWindow> windows;
  bool fails = false;
  bool captured = false;  ///< what was called last
};

}  // namespace cohort::cuda::nccl

namespace cohort::test {
namespace {

using cuda::Address;
using cuda::Status;
using cuda::nccl::Call;
using cuda::nccl::Clique;
using cuda::nccl::Communicator;
using cuda::nccl::Join;
using cuda::nccl::LibraryFacts;
using cuda::nccl::Progress;
using cuda::nccl::Step;
using cuda::nccl::UniqueId;

struct Process {
  std::mutex mutex;
  std::condition_variable changed;
  std::uint64_t last_id = 0;
  std::map<std::uint64_t, std::shared_ptr<Clique>> cliques;
  FakeNcclCounts counts;
};

Process& process() {
  static Process instance;
  return instance;
}

thread_local FakeNcclFaults faults_of_this_rank;

Status failed(const char* text) {
  Status status;
  status.code = Status::Code::failed;
  std::snprintf(status.text, sizeof status.text, "%s", text);
  return status;
}

Status load(LibraryFacts* facts) {
  *facts = {};
  facts->version = faults_of_this_rank.version;
  facts->has_all_to_all = true;
  facts->registers_operands = faults_of_this_rank.registers_operands;
  std::snprintf(facts->path, sizeof facts->path, "/fake/libnccl.so.2");
  if (faults_of_this_rank.missing.empty()) return {};
  Status status = failed(faults_of_this_rank.missing.c_str());
  status.code = Status::Code::unsupported;
  return status;
}

Status unique_id(UniqueId* id) {
  const std::scoped_lock lock(process().mutex);
  *id = {};
  const std::uint64_t number = ++process().last_id;
  std::memcpy(id->bytes, &number, sizeof number);
  return {};
}

Status join(const Join* joins, std::uint32_t count, Communicator** joined) {
  const std::scoped_lock lock(process().mutex);
  for (std::uint32_t i = 0; i < count; ++i) {
    std::uint64_t number = 0;
    std::memcpy(&number, joins[i].id.bytes, sizeof number);
    auto& clique = process().cliques[number];
    if (!clique) {
      clique = std::make_shared<Clique>();
      clique->registrations.resize(joins[i].members);
      clique->calls.resize(joins[i].members);
    }
    auto* const made = new Communicator;
    made->clique = clique;
    made->members = joins[i].members;
    made->self = joins[i].self;
    made->fails = faults_of_this_rank.fails_to_join;
    if (!faults_of_this_rank.never_joins && !made->fails) ++clique->joined;
    ++process().counts.joined;
    joined[i] = made;
  }
  return {};
}

bool all_at_least(const std::vector<std::uint32_t>& counts, std::uint32_t target) {
  for (const std::uint32_t count : counts) {
    if (count < target) return false;
  }
  return true;
}

bool is_done(const Communicator& communicator) {
  const Clique& clique = *communicator.clique;
  switch (communicator.step) {
    case Step::join: return clique.joined == communicator.members;
    case Step::add_windows: return all_at_least(clique.registrations, communicator.target);
    case Step::call: return communicator.captured || clique.rounds >= communicator.target;
    case Step::finalize: return true;
  }
  return false;
}

Status progress(Communicator* communicator, Progress* progress) {
  const std::scoped_lock lock(process().mutex);
  if (communicator->fails) return failed("fake NCCL: no socket");
  *progress = is_done(*communicator) ? Progress::done : Progress::pending;
  return {};
}

Status add_windows(Communicator* communicator, const Address* addresses, const std::uint64_t* bytes,
                   std::uint32_t count) {
  const std::scoped_lock lock(process().mutex);
  communicator->step = Step::add_windows;
  for (std::uint32_t i = 0; i < count; ++i) {
    communicator->windows.push_back(
        {addresses[i], bytes[i], !faults_of_this_rank.gives_no_windows});
  }
  if (!faults_of_this_rank.gives_no_windows) process().counts.windows += count;
  std::uint32_t& mine = communicator->clique->registrations[communicator->self];
  communicator->target = mine + 1;
  communicator->fails = faults_of_this_rank.fails_to_register;
  if (!faults_of_this_rank.never_registers && !communicator->fails) ++mine;
  return {};
}

std::uint32_t window_count(const Communicator* communicator) {
  const std::scoped_lock lock(process().mutex);
  std::uint32_t count = 0;
  for (const auto& window : communicator->windows) count += window.is_there ? 1 : 0;
  return count;
}

Status drop_windows(Communicator* communicator, std::uint32_t kept) {
  const std::scoped_lock lock(process().mutex);
  while (communicator->windows.size() > kept) {
    if (communicator->windows.back().is_there) --process().counts.windows;
    communicator->windows.pop_back();
  }
  return {};
}

std::byte* at(Address address) {
  return std::bit_cast<std::byte*>(address);
}

/// Sums by rank, as the library's own: what the contract wants bit by bit. NCCL's order is another.
void reduce_all(const std::vector<Call>& calls) {
  const Call& first = calls.front();
  const bool scatters = first.op == Op::reduce_scatter;
  const std::size_t bytes = first.count * bytes_of(first.dtype);
  std::vector<std::vector<std::byte>> results(calls.size());
  for (std::size_t to = 0; to < calls.size(); ++to) {
    std::vector<const std::byte*> inputs;
    for (const Call& call : calls) inputs.push_back(at(call.input) + (scatters ? to * bytes : 0));
    results[to].resize(bytes);
    host::reduce(inputs, results[to].data(), first.count, first.dtype, first.reduce_op);
  }
  for (std::size_t to = 0; to < calls.size(); ++to) {
    if (bytes != 0) std::memcpy(at(calls[to].output), results[to].data(), bytes);
  }
}

/// Moves the data of a round that all members have come to.
void execute(const std::vector<Call>& calls) {
  const Call& first = calls.front();
  const std::size_t bytes = first.count * bytes_of(first.dtype);
  if (bytes == 0) return;
  for (std::size_t from = 0; from < calls.size(); ++from) {
    for (std::size_t to = 0; to < calls.size(); ++to) {
      std::byte* const output = at(calls[to].output);
      const std::byte* const input = at(calls[from].input);
      if (first.op == Op::all_gather) std::memmove(output + from * bytes, input, bytes);
      if (first.op == Op::all_to_all) std::memcpy(output + from * bytes, input + to * bytes, bytes);
      if (first.op == Op::broadcast && from == first.root) std::memmove(output, input, bytes);
    }
  }
  if (first.op == Op::all_reduce || first.op == Op::reduce_scatter) reduce_all(calls);
}

bool is_in_window(const Communicator& communicator, Address address, std::uint64_t bytes) {
  return std::ranges::any_of(communicator.windows, [&](const auto& window) {
    return window.is_there && address >= window.address && bytes <= window.bytes &&
           address - window.address <= window.bytes - bytes;
  });
}

/// As 2.28.9 does for itself, without asking anybody.
bool takes_symmetric_kernel(const Communicator& communicator, const Call& call) {
  if (call.op == Op::broadcast || call.op == Op::all_to_all) return false;
  const bool is_float =
      call.dtype == DType::f32 || call.dtype == DType::bf16 || call.dtype == DType::f16;
  if (call.op != Op::all_gather && !is_float) return false;
  const std::uint64_t part = call.count * bytes_of(call.dtype);
  const std::uint64_t whole = part * communicator.members;
  return is_in_window(communicator, call.input, call.op == Op::reduce_scatter ? whole : part) &&
         is_in_window(communicator, call.output, call.op == Op::all_gather ? whole : part);
}

/// Under the lock. The last to come moves everybody's data.
void begin_round(Communicator* communicator, const Call& call) {
  Clique& clique = *communicator->clique;
  ++process().counts.calls;
  if (takes_symmetric_kernel(*communicator, call)) ++process().counts.symmetric_calls;
  communicator->target = clique.rounds + 1;
  clique.calls[communicator->self] = call;
  if (++clique.arrived < communicator->members) return;
  clique.arrived = 0;
  ++clique.rounds;
  execute(clique.calls);
  process().changed.notify_all();
}

FakeStream* stream_of(const Call& call) {
  return static_cast<FakeStream*>(call.stream);
}

/// What a graph does: returns once all members have come, or one has ended.
void replay(Communicator* communicator, const Call& call) {
  std::unique_lock lock(process().mutex);
  begin_round(communicator, call);
  const auto clique = communicator->clique;
  const std::uint32_t target = communicator->target;
  process().changed.wait(lock, [&] { return clique->ended || clique->rounds >= target; });
}

Status call(Communicator* communicator, const Call* call) {
  const bool captured = stream_of(*call) != nullptr && stream_of(*call)->capturing();
  if (captured) {
    stream_of(*call)->keep([communicator, kept = *call] { replay(communicator, kept); });
  }
  const std::scoped_lock lock(process().mutex);
  communicator->step = Step::call;
  communicator->captured = captured;
  if (!captured) begin_round(communicator, *call);
  return {};
}

Status mark(Communicator* /*communicator*/, cuda::StreamHandle /*stream*/) {
  const std::scoped_lock lock(process().mutex);
  ++process().counts.marks;
  return {};
}

Status mark_reached(Communicator* /*communicator*/, bool* reached) {
  *reached = true;
  return {};
}

Status finalize(Communicator* communicator) {
  const std::scoped_lock lock(process().mutex);
  communicator->step = Step::finalize;
  return {};
}

void destroy(Communicator* communicator) {
  const std::scoped_lock lock(process().mutex);
  ++process().counts.destroyed;
  delete communicator;
}

void abort(Communicator* communicator) {
  const std::scoped_lock lock(process().mutex);
  for (const auto& window : communicator->windows) {
    process().counts.windows -= window.is_there ? 1 : 0;
  }
  communicator->clique->ended = true;
  process().changed.notify_all();
  ++process().counts.aborted;
  delete communicator;
}

Status free_bytes(std::uint32_t, std::uint64_t* bytes) {
  const std::scoped_lock lock(process().mutex);
  *bytes = (std::uint64_t{1} << 30) - std::uint64_t{process().counts.joined} * 1'000;
  return {};
}

Status stream_done(std::uint32_t, cuda::StreamHandle, bool* done) {
  *done = true;
  return {};
}

}  // namespace

void set_fake_nccl_faults(const FakeNcclFaults& faults) {
  faults_of_this_rank = faults;
}

void reset_fake_nccl() {
  const std::scoped_lock lock(process().mutex);
  process().cliques.clear();
  process().counts = {};
}

FakeNcclCounts fake_nccl_counts() {
  const std::scoped_lock lock(process().mutex);
  return process().counts;
}

const cuda::nccl::Api& fake_nccl() {
  static const cuda::nccl::Api api{
      .abi_version = cuda::nccl::kAbiVersion,
      .load = load,
      .unique_id = unique_id,
      .join = join,
      .progress = progress,
      .add_windows = add_windows,
      .window_count = window_count,
      .drop_windows = drop_windows,
      .call = call,
      .mark = mark,
      .mark_reached = mark_reached,
      .finalize = finalize,
      .destroy = destroy,
      .abort = abort,
      .free_bytes = free_bytes,
      .stream_done = stream_done,
  };
  return api;
}

}  // namespace cohort::test
