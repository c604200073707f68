#include "contract/graph_contract.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <memory>
#include <optional>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "backend/cuda/device.hpp"

namespace cohort::contract {
namespace {

constexpr std::array<std::size_t, 5> kRowCounts = {1, 2, 7, 32, 100};
constexpr std::uint32_t kGraphs = kRowCounts.size();
constexpr std::size_t kRowsMax = kRowCounts.back();
constexpr std::size_t kBlockBytes = 64U << 10U;
constexpr std::size_t kPoolBytes = 8 * kBlockBytes;
constexpr std::uint32_t kCallsOfGraph = 3;
constexpr std::uint32_t kTurnsBetweenChurns = 40;
/// In every four bytes a NaN of f32.
constexpr std::uint32_t kPoison = 0xFFFFFFFF;

constexpr SlotId kSums{0};
constexpr SlotId kParts{1};

Plan graph_plan(std::uint32_t tp, const GraphRun& run, std::uint32_t depth = 2) {
  Plan plan(Layout{{.tp = tp}}, {.memory = Memory::cuda});
  for (const char* name : {"sums", "parts"}) {
    static_cast<void>(plan.slot(name, {.groups = {GroupKind::tp},
                                       .rows_max = kRowsMax,
                                       .row_elements = run.row_elements,
                                       .depth = depth,
                                       .leases = kGraphs}));
  }
  static_cast<void>(plan.pool(
      "pool", {.groups = {GroupKind::tp}, .bytes = kPoolBytes, .block_bytes_max = kBlockBytes}));
  return plan;
}

/// In [-1, 1), another one for each rank and turn.
float input_of(std::uint32_t turn, std::uint32_t rank, std::size_t i) {
  std::uint64_t bits = (std::uint64_t{turn} << 40U ^ std::uint64_t{rank} << 32U ^ i) + 1;
  bits *= 0x9E37'79B9'7F4A'7C15U;
  bits = (bits ^ bits >> 29U) * 0xBF58'476D'1CE4'E5B9U;
  const auto signed_bits = static_cast<std::int32_t>(bits >> 40U) - (1 << 23U);
  return static_cast<float>(signed_bits) / static_cast<float>(1 << 23U);
}

/// Whether `got` is the sum of what all ranks put in, but for the rounding of its f32 additions.
testing::AssertionResult is_sum(const std::vector<float>& got, std::uint32_t turn,
                                std::uint32_t ranks) {
  for (std::size_t i = 0; i < got.size(); ++i) {
    double sum = 0;
    double size = 0;
    for (std::uint32_t rank = 0; rank < ranks; ++rank) {
      const double input = input_of(turn, rank, i);
      sum += input;
      size += std::abs(input);
    }
    if (std::abs(got[i] - sum) <= size * ranks * 0x1p-24) continue;  // a NaN is not
    return testing::AssertionFailure() << "turn " << turn << ": element " << i << " of "
                                       << got.size() << " is " << got[i] << " instead of " << sum;
  }
  return testing::AssertionSuccess();
}

class Graph {
 public:
  Graph(std::shared_ptr<cuda::OpenDevice> device, Stream stream) : device_(std::move(device)) {
    cuda::throw_unless_ok(device_->api().end_capture(device_->handle(), stream.handle, &handle_),
                          "ending a capture");
  }
  ~Graph() {
    if (handle_ != nullptr) device_->api().destroy_graph(device_->handle(), handle_);
  }
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  void launch(Stream stream) const {
    cuda::throw_unless_ok(device_->api().launch_graph(device_->handle(), handle_, stream.handle),
                          "launching a graph");
  }

 private:
  std::shared_ptr<cuda::OpenDevice> device_;
  cuda::GraphHandle handle_ = nullptr;
};

/// A rank's device and a stream of its own.
class DeviceStream {
 public:
  explicit DeviceStream(const GraphRun& run)
      : device_(cuda::OpenDevice::open(*run.api, run.device)) {
    cuda::throw_unless_ok(device_->api().create_stream(device_->handle(), &stream_.handle),
                          "making a stream");
  }
  ~DeviceStream() { device_->api().destroy_stream(device_->handle(), stream_.handle); }
  DeviceStream(const DeviceStream&) = delete;
  DeviceStream& operator=(const DeviceStream&) = delete;

  Stream stream() const noexcept { return stream_; }
  void begin_capture() const {
    cuda::throw_unless_ok(device_->api().begin_capture(device_->handle(), stream_.handle),
                          "beginning a capture");
  }
  std::unique_ptr<Graph> end_capture() const { return std::make_unique<Graph>(device_, stream_); }

  /// Returns once the stream has ended, however that went.
  void finish() const {
    while (!device_->is_done(stream_.handle)) std::this_thread::yield();
  }

  void write(float* to, const std::vector<float>& from) const {
    device_->write(cuda::OpenDevice::host(to), from.data(), from.size() * sizeof(float));
  }
  std::vector<float> read(const float* from, std::size_t count) const {
    std::vector<float> result(count);
    device_->read(result.data(), cuda::OpenDevice::host(from), count * sizeof(float));
    return result;
  }
  void poison(void* memory, std::size_t bytes) const {
    device_->fill(cuda::OpenDevice::host(memory), kPoison, bytes);
  }

 private:
  std::shared_ptr<cuda::OpenDevice> device_;
  Stream stream_;
};

/// A graph and where its operands lie; nothing here holds that memory.
struct Captured {
  std::unique_ptr<Graph> graph;
  float* sums = nullptr;
  float* parts = nullptr;
  std::size_t elements = 0;
};

/// `sums` to their sum in place, after `parts` have got the same sum by two other calls.
void call_three(const Group& tp, float* sums, float* parts, std::size_t elements) {
  const std::size_t part = elements / tp.size();
  const Tensor own{parts + part * tp.rank().index(), part, DType::f32};
  const Tensor operand{sums, elements, DType::f32};
  static_cast<void>(tp.reduce_scatter(operand, own, ReduceOp::sum));
  static_cast<void>(tp.all_gather(own, {parts, elements, DType::f32}));
  static_cast<void>(tp.all_reduce(operand, ReduceOp::sum));
}

Captured capture(Session& session, const DeviceStream& device, std::size_t rows) {
  Lease sums = session.lease(kSums);
  Lease parts = session.lease(kParts);
  Captured captured{nullptr, sums.buffer().as<float>(), parts.buffer().as<float>(),
                    rows * sums.buffer().row_elements()};
  device.begin_capture();
  session.give_to_graph(std::move(sums), device.stream());
  call_three(session.group(GroupKind::tp).on(device.stream()), captured.sums, captured.parts,
             captured.elements);
  session.give_to_graph(std::move(parts), device.stream());
  captured.graph = device.end_capture();
  return captured;
}

/// One replay on inputs of its own, and what has come of it.
void replay(Session& session, const DeviceStream& device, const Captured& captured,
            std::uint32_t turn) {
  const Group tp = session.group(GroupKind::tp);
  std::vector<float> inputs(captured.elements);
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    inputs[i] = input_of(turn, tp.rank().index(), i);
  }
  device.write(captured.sums, inputs);
  device.poison(captured.parts, captured.elements * sizeof(float));
  captured.graph->launch(device.stream());
  session.wait(device.stream());
  const std::vector<float> sums = device.read(captured.sums, captured.elements);
  const std::vector<float> parts = device.read(captured.parts, captured.elements);
  ASSERT_TRUE(is_sum(sums, turn, tp.size()));
  ASSERT_EQ(std::memcmp(sums.data(), parts.data(), sums.size() * sizeof(float)), 0) << turn;
}

/// Goes through everything of the arena that no graph owns, with a call in the midst of it.
void churn(Session& session, const DeviceStream& device, std::mt19937& order) {
  for (const SlotId slot : {kSums, kParts}) {
    const Buffer taken = session.take(slot);
    device.poison(taken.data(), taken.rows_max() * taken.row_elements() * sizeof(float));
  }
  {
    Scope all = session.scope(GroupKind::tp);
    for (std::size_t used = 0; used < kPoolBytes; used += kBlockBytes) {
      device.poison(all.allocate(DType::u8, kBlockBytes, 1).data(), kBlockBytes);
    }
  }
  Scope scope = session.scope(GroupKind::tp);
  Buffer block;
  for (auto count = 1 + order() % 6; count > 0; --count) {
    const std::size_t elements = 16 + order() % 2000;
    block = scope.allocate(DType::f32, elements, 1);
    device.write(block.as<float>(), std::vector<float>(elements, 1.0F));
  }
  const Group tp = session.group(GroupKind::tp).on(device.stream());
  static_cast<void>(tp.all_reduce(block.elements(block.rows_max()), ReduceOp::sum));
  session.wait(device.stream());
  const std::vector<float> sums = device.read(block.as<float>(), block.rows_max());
  EXPECT_EQ(std::count(sums.begin(), sums.end(), static_cast<float>(tp.size())),
            static_cast<std::ptrdiff_t>(sums.size()));
}

std::uint64_t calls_in(const std::vector<LedgerRow>& rows) {
  std::uint64_t calls = 0;
  for (const LedgerRow& row : rows) calls += row.calls;
  return calls;
}

}  // namespace

std::string replay_graphs(World& world, const GraphRun& run) {
  const DeviceStream device(run);
  std::unique_ptr<Graph> last;
  {
    Session session = commit(world, graph_plan(world.size(), run), {.device = run.device});
    std::vector<Captured> graphs;
    for (const std::size_t rows : kRowCounts) graphs.push_back(capture(session, device, rows));
    EXPECT_TRUE(session.ledger().empty());

    std::mt19937 order(20260101);  // the same on all ranks
    std::uint64_t calls = 0;
    for (std::uint32_t turn = 0; turn < run.replays; ++turn) {
      if (turn % kTurnsBetweenChurns == 0) {
        churn(session, device, order);
        ++calls;
      }
      if (turn % (run.replays / 2) == 0) run.poison_free_memory();
      replay(session, device, graphs[order() % kGraphs], turn);
      if (testing::Test::HasFatalFailure()) return "stopped";
      calls += kCallsOfGraph;
    }
    EXPECT_EQ(calls_in(session.ledger()), calls);
    EXPECT_EQ(session.registrations_since_commit(), 0U);

    // Each rank in an order of its own; the entries come back in that of the slot.
    std::mt19937 own(world.rank().index());
    std::shuffle(graphs.begin(), graphs.end(), own);
    std::vector<float*> places(kGraphs);
    for (Captured& captured : graphs) captured.graph.reset();
    for (float*& place : places) {
      const Lease lease = session.lease(kSums);
      place = lease.buffer().as<float>();
    }
    for (const Captured& captured : graphs) {
      EXPECT_EQ(std::count(places.begin(), places.end(), captured.sums), 1);
    }
    Captured again = capture(session, device, kRowsMax);
    replay(session, device, again, run.replays);
    last = std::move(again.graph);
    session.verify();
    session.close();
  }
  last.reset();
  return "done";
}

std::string replay_stale_graph(World& world, const GraphRun& run,
                               const std::function<bool(WorldRank)>& replays) {
  const DeviceStream device(run);
  Session session = commit(world, graph_plan(world.size(), run), {.device = run.device});
  const Captured captured = capture(session, device, 2);
  replay(session, device, captured, 1);
  Plan next = graph_plan(world.size(), run);
  // Larger than all other operands of the group, so that its channel has to be.
  static_cast<void>(next.slot(
      "larger", {.groups = {GroupKind::tp}, .rows_max = 2 * kBlockBytes, .row_elements = 1}));
  session.recommit(next);
  const Captured anew = capture(session, device, 2);
  replay(session, device, anew, 2);
  EXPECT_EQ(calls_in(session.ledger()), 2 * kCallsOfGraph);
  if (replays(world.rank())) {
    captured.graph->launch(device.stream());
  } else {
    anew.graph->launch(device.stream());
  }
  try {
    session.wait(device.stream());
  } catch (const Error&) {
    device.finish();  // whoever launches graphs waits for them before the memory goes
    const Captured& stale = replays(world.rank()) ? captured : anew;
    EXPECT_TRUE(std::isnan(device.read(stale.sums, 1).front())) << "not a result";
    throw;
  }
  return "no fault";
}

std::string replay_on_changed_slot(World& world, const GraphRun& run) {
  const DeviceStream device(run);
  Session session = commit(world, graph_plan(world.size(), run), {.device = run.device});
  const Captured captured = capture(session, device, 7);
  replay(session, device, captured, 1);
  session.recommit(graph_plan(world.size(), run, 3));  // deeper rings elsewhere, equal operands
  const Captured anew = capture(session, device, 7);
  EXPECT_NE(anew.sums, captured.sums);
  std::mt19937 order(7);
  for (std::uint32_t turn = 2; turn < 40; ++turn) {
    churn(session, device, order);
    replay(session, device, turn % 2 == 0 ? captured : anew, turn);
  }
  session.close();
  return "done";
}

}  // namespace cohort::contract
