#include "measure.hpp"

#include <algorithm>
#include <numeric>

namespace cohort::gpu_bench {
namespace {

constexpr std::uint32_t kFirstCalls = 16;
constexpr std::uint32_t kCallsMax = 480;
constexpr std::uint32_t kHostRounds = 5;

/// A subject at one point: its times, or why there are none.
struct Entry {
  Subject* subject = nullptr;
  std::uint32_t calls = 0;
  std::vector<double> times_us;  // per call, maximum over ranks
  std::string failure;
};

class Meter {
 public:
  Meter(const Options& options, Ranks& ranks) : options_(options), ranks_(ranks) {}

  /// Runs a step of a subject on all ranks; a failure on one is one on all.
  template <typename Step>
  bool attempt(Entry& entry, Step step) {
    std::string mine;
    try {
      step();
    } catch (const std::exception& error) {
      mine = error.what();
    }
    entry.failure = ranks_.first_text(mine);
    return entry.failure.empty();
  }

  bool make_ready(Entry& entry, const Point& point) {
    Subject& subject = *entry.subject;
    double us = 0;
    if (!attempt(entry, [&] {
          subject.prepare(point, kFirstCalls);
          us = subject.replay_us();
        }))
      return false;
    us = ranks_.max(us) / kFirstCalls;
    entry.calls = static_cast<std::uint32_t>(
        std::clamp(options_.replay_us / std::max(us, 0.1), 2.0, double{kCallsMax}));
    std::uint64_t wrong = 0;
    if (!attempt(entry, [&] {
          subject.prepare(point, entry.calls);
          wrong = subject.verify(++seed_);
        }))
      return false;
    const double most = ranks_.max(static_cast<double>(wrong));
    if (most > 0) {
      entry.failure = "wrong: " + std::to_string(static_cast<std::uint64_t>(most)) + " elements";
      return false;
    }
    return attempt(entry, [&] { subject.replay_us(); });
  }

  /// In turns: each round begins with another one.
  void run_rounds(std::vector<Entry*>& live) {
    for (std::uint32_t round = 0; round < options_.rounds; ++round) {
      for (std::size_t i = 0; i < live.size(); ++i) {
        Entry& entry = *live[(i + round) % live.size()];
        if (!entry.failure.empty()) continue;
        double us = 0;
        if (!attempt(entry, [&] { us = entry.subject->replay_us(); })) continue;
        entry.times_us.push_back(ranks_.max(us) / entry.calls);
      }
    }
  }

  void host_cost(Entry& entry, Json& times) {
    std::vector<double> costs;
    for (std::uint32_t round = 0; round < kHostRounds; ++round) {
      std::optional<double> ns;
      if (!attempt(entry, [&] { ns = entry.subject->host_ns(); }) || !ns) return;
      costs.push_back(ranks_.max(*ns));
    }
    std::sort(costs.begin(), costs.end());
    times.number("host_ns", costs[costs.size() / 2]);
  }

 private:
  const Options& options_;
  Ranks& ranks_;
  std::uint32_t seed_ = 0;
};

Json summary(const Entry& entry) {
  std::vector<double> sorted = entry.times_us;
  std::sort(sorted.begin(), sorted.end());
  const double mean =
      std::accumulate(sorted.begin(), sorted.end(), 0.0) / static_cast<double>(sorted.size());
  Json json;
  json.number("p50_us", sorted[sorted.size() / 2])
      .number("mean_us", mean)
      .number("min_us", sorted.front())
      .number("max_us", sorted.back())
      .number("rounds", static_cast<double>(sorted.size()))
      .number("calls", entry.calls);
  if (const std::string note = entry.subject->note(); !note.empty()) json.text("path", note);
  return json;
}

Json header_of(const Point& point, const Ranks& ranks) {
  Json json;
  json.text("kind", "point")
      .text("operation", to_string(point.operation))
      .text("dtype", std::string(to_string(point.dtype)))
      .number("bytes", static_cast<double>(point.bytes))
      .number("wire_bytes", static_cast<double>(wire_bytes(point, ranks.count())))
      .text("buffers", point.rotating ? "rotating" : "warm")
      .number("ranks", ranks.count());
  if (counts_rows(point.operation)) json.number("rows", static_cast<double>(rows_of(point)));
  if (is_layers(point.operation)) json.number("boundaries", kBoundaries);
  return json;
}

std::uint64_t measure_point(Meter& meter, const Point& point, bool asks_host, Ranks& ranks,
                            const std::vector<std::unique_ptr<Subject>>& subjects, Output& output) {
  std::vector<Entry> entries;
  for (const auto& subject : subjects) {
    if (!subject->refuses(point)) entries.push_back({subject.get(), 0, {}, {}});
  }
  std::vector<Entry*> live;
  for (Entry& entry : entries) {
    if (meter.make_ready(entry, point)) live.push_back(&entry);
  }
  meter.run_rounds(live);
  Json results;
  Json failures;
  std::uint64_t failed = 0;
  for (Entry& entry : entries) {
    if (entry.failure.empty() && !entry.times_us.empty()) {
      Json times = summary(entry);
      if (asks_host) meter.host_cost(entry, times);
      results.object(entry.subject->name(), times);
    }
    if (!entry.failure.empty()) {
      failures.text(entry.subject->name(), entry.failure);
      ++failed;
    }
    meter.attempt(entry, [&] { entry.subject->release(); });
  }
  output.line(header_of(point, ranks).object("subjects", results).object("failures", failures));
  return failed;
}

}  // namespace

std::uint64_t measure(const Options& options, std::chrono::steady_clock::time_point begin,
                      Ranks& ranks, const std::vector<std::unique_ptr<Subject>>& subjects,
                      Output& output) {
  Meter meter(options, ranks);
  std::uint64_t failed = 0;
  for (const Operation operation : options.operations) {
    for (const DType dtype : options.dtypes) {
      for (const bool rotating : options.rotating) {
        for (const std::uint64_t size : options.sizes) {
          Point point{operation, dtype, size, rotating};
          if (counts_rows(operation)) point.bytes = size * kHidden * bytes_of(DType::bf16);
          const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - begin;
          if (ranks.max(spent.count()) > options.seconds) {
            output.line(Json().text("kind", "cut").number("seconds", options.seconds));
            return failed + 1;
          }
          failed += measure_point(meter, point, !rotating && size <= 8192, ranks, subjects, output);
        }
      }
    }
  }
  return failed;
}

}  // namespace cohort::gpu_bench
