#include "rendezvous/launcher.hpp"

#include <poll.h>

#include <algorithm>
#include <csignal>
#include <utility>

#include "base/clock.hpp"
#include "rendezvous/child.hpp"
#include "rendezvous/relay.hpp"
#include "rendezvous/stop_signals.hpp"
#include "rendezvous/wire.hpp"

namespace cohort {
namespace rendezvous {
namespace {

using std::chrono::milliseconds;

// Where the system offers no pidfd, ends of processes are looked for this often.
constexpr milliseconds kLookSlice{20};
// While the job is ending: stopped ranks are looked for this often.
constexpr milliseconds kEndingSlice{50};

class Job {
 public:
  explicit Job(const LaunchOptions& options)
      : options_(options), scale_(deadline_scale_from_environment()), relay_(options.rank_count) {}

  /// Ends what runs if not all ranks could be started.
  ~Job() {
    for (Child& child : children_) child.signal(SIGKILL);
    for (Child& child : children_) {
      while (!child.reap(0)) ::poll(nullptr, 0, 1);
    }
  }
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;

  LaunchResult run() && {
    for (std::uint32_t rank = 0; rank < options_.rank_count; ++rank) {
      children_.push_back(Child::start(options_, WorldRank{rank}));
    }
    while (running_count() > 0) {
      wait_for_events();
      take_signals();
      ++order_;
      for (Child& child : children_) serve(child);
      if (failed_ || interrupted_by_) end_more();
    }
    std::vector<RankEnd> ends;
    for (Child& child : children_) {
      child.finish_errors();
      ends.push_back(child.end());
    }
    const std::string& program =
        options_.program.empty() ? options_.arguments[0] : options_.program;
    return conclude(std::move(ends), program, interrupted_by_);
  }

 private:
  std::size_t running_count() const {
    return static_cast<std::size_t>(std::count_if(
        children_.begin(), children_.end(), [](const Child& child) { return child.running(); }));
  }

  void wait_for_events() {
    milliseconds slice{-1};
    if (failed_ || interrupted_by_) slice = kEndingSlice;
    std::vector<pollfd> polled{{signals_.fd(), POLLIN, 0}};
    for (const Child& child : children_) {
      const short writing = child.has_output() ? POLLOUT : 0;
      polled.push_back({child.process_fd(), POLLIN, 0});
      polled.push_back({child.socket_fd(), static_cast<short>(POLLIN | writing), 0});
      polled.push_back({child.errors_fd(), POLLIN, 0});
      if (child.running() && child.process_fd() < 0) slice = kLookSlice;
    }
    ::poll(polled.data(), polled.size(), static_cast<int>(slice.count()));
  }

  void take_signals() {
    while (const auto number = signals_.next()) {
      // The second one is from somebody who has lost patience.
      const int sent = interrupted_by_ ? SIGKILL : *number;
      if (!interrupted_by_) interrupted_by_ = *number;
      terminated_at_ = Clock::now();
      for (Child& child : children_) {
        if (sent == SIGKILL || !child.stopped()) child.signal(sent);
      }
    }
  }

  /// Takes in what a rank sent or wrote, and its end.
  void serve(Child& child) {
    child.flush();
    child.forward_errors();
    const bool was_running = child.running();
    // Reaped first: what it sent before it ended is then there to be read.
    const bool ended = was_running && child.reap(order_);
    for (const Frame& frame : child.receive()) answer(child.rank(), frame);
    if (ended) on_ended(child);
  }

  void answer(WorldRank from, const Frame& frame) {
    try {
      wire::Reader reader(frame.payload);
      const auto round = reader.get<std::uint64_t>();
      if (frame.type == FrameType::ask_missing) deliver(relay_.on_ask_missing(from, round));
      if (frame.type != FrameType::gather) return;
      const auto bytes = reader.get_bytes();
      deliver(relay_.on_gather(from, round, {bytes.begin(), bytes.end()}));
    } catch (const Error&) {
      // A malformed message asks for nothing, so it gets no answer.
    }
  }

  void deliver(const std::vector<Outgoing>& messages) {
    for (const Outgoing& message : messages) children_[message.to.index()].send(message.frame);
  }

  void on_ended(const Child& child) {
    const RankEnd& end = child.end();
    const bool told = end.report && end.report->code() != ErrorCode::peer_failed;
    deliver(relay_.on_ended(child.rank(),
                            told ? *end.report
                                 : Error(ErrorCode::peer_failed,
                                         describe_end(child.rank(), end) + " before it had joined",
                                         child.rank(), "join")));
    if (!end.failed() || failed_) return;
    failed_ = true;
    failed_at_ = Clock::now();
  }

  milliseconds scaled(milliseconds time) const {
    return milliseconds(static_cast<milliseconds::rep>(static_cast<double>(time.count()) * scale_));
  }

  /// The ending of a job: time to end alone, SIGTERM, SIGKILL; stopped ranks when no other runs.
  void end_more() {
    const auto now = Clock::now();
    std::vector<Child*> awake;
    for (Child& child : children_) {
      if (child.running() && !child.stopped()) awake.push_back(&child);
    }
    if (awake.empty()) {
      for (Child& child : children_) child.signal(SIGKILL);
      return;
    }
    if (!terminated_at_) {
      if (now < failed_at_ + scaled(options_.grace)) return;
      terminated_at_ = now;
      for (Child* child : awake) child->signal(SIGTERM);
    } else if (now >= *terminated_at_ + scaled(options_.kill_after)) {
      for (Child* child : awake) child->signal(SIGKILL);
    }
  }

  const LaunchOptions& options_;
  double scale_;
  StopSignals signals_;  // before the ranks, so that none is left without an end
  Relay relay_;
  std::vector<Child> children_;
  std::uint32_t order_ = 0;
  std::optional<int> interrupted_by_;
  bool failed_ = false;
  Clock::time_point failed_at_{};
  std::optional<Clock::time_point> terminated_at_;
};

}  // namespace
}  // namespace rendezvous

LaunchResult launch(const LaunchOptions& options) {
  if (options.rank_count == 0 || options.rank_count > rendezvous::kRankCountMax) {
    throw Error(ErrorCode::usage,
                "cannot start " + std::to_string(options.rank_count) + " ranks: from 1 to " +
                    std::to_string(rendezvous::kRankCountMax) + " are possible",
                std::nullopt, "start");
  }
  if (options.arguments.empty()) {
    throw Error(ErrorCode::usage, "no program to start", std::nullopt, "start");
  }
  return rendezvous::Job(options).run();
}

LaunchResult launch_self(std::uint32_t rank_count, int argument_count,
                         const char* const* arguments) {
  LaunchOptions options;
  options.rank_count = rank_count;
  options.arguments.assign(arguments, arguments + argument_count);
  options.program = "/proc/self/exe";
  options.other_output = RankOutput::discard;
  return launch(options);
}

}  // namespace cohort
