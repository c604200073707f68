#include "report/job_timeline.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include <cohort/error.hpp>

#include "rendezvous/wire.hpp"

namespace cohort {

namespace {

using collectives::RecordedCall;

[[noreturn]] void refuse() {
  throw Error(ErrorCode::corrupt, "a rank sent a timeline that cannot be read");
}

template <typename Enum>
Enum checked_enum(std::uint8_t value, std::size_t count) {
  if (value >= count) refuse();
  return static_cast<Enum>(value);
}

void put_call(wire::Writer& writer, const RecordedCall& call) {
  writer.put(call.begin_ticks);
  writer.put(call.total_ticks);
  writer.put(call.wait_ticks);
  writer.put(call.bytes);
  writer.put(call.copied_bytes);
  writer.put(call.session);
  writer.put(call.lane.index());
  writer.put(static_cast<std::uint8_t>(call.group));
  writer.put(static_cast<std::uint8_t>(call.op));
  writer.put(static_cast<std::uint8_t>(call.path));
  writer.put(static_cast<std::uint8_t>(call.reason));
}

RecordedCall get_call(wire::Reader& reader) {
  RecordedCall call;
  call.begin_ticks = reader.get<std::uint64_t>();
  call.total_ticks = reader.get<std::uint64_t>();
  call.wait_ticks = reader.get<std::uint64_t>();
  call.bytes = reader.get<std::uint64_t>();
  call.copied_bytes = reader.get<std::uint64_t>();
  call.session = reader.get<std::uint32_t>();
  call.lane = Lane{reader.get<std::uint32_t>()};
  call.group = checked_enum<GroupKind>(reader.get<std::uint8_t>(), kGroupKindCount);
  call.op = checked_enum<Op>(reader.get<std::uint8_t>(), kOpCount);
  call.path = checked_enum<Path>(reader.get<std::uint8_t>(), kPathCount);
  call.reason = checked_enum<Reason>(reader.get<std::uint8_t>(), kReasonCount);
  return call;
}

}  // namespace

std::vector<std::byte> encode_timeline(const collectives::Timeline& timeline) {
  wire::Writer writer;
  writer.put(std::bit_cast<std::uint64_t>(timeline.seconds_per_tick()));
  writer.put(timeline.dropped());
  writer.put(static_cast<std::uint64_t>(timeline.calls().size()));
  for (const RecordedCall& call : timeline.calls()) put_call(writer, call);
  return writer.take();
}

std::vector<RankTimeline> align_timelines(std::span<const std::vector<std::byte>> encoded) {
  std::vector<RankTimeline> timelines;
  double tick_s = 0;
  auto first_ticks = std::numeric_limits<std::uint64_t>::max();
  for (const std::vector<std::byte>& bytes : encoded) {
    wire::Reader reader(bytes);
    const auto own_tick_s = std::bit_cast<double>(reader.get<std::uint64_t>());
    if (!std::isfinite(own_tick_s) || own_tick_s <= 0) refuse();
    if (timelines.empty()) tick_s = own_tick_s;
    RankTimeline& timeline = timelines.emplace_back();
    timeline.dropped = reader.get<std::uint64_t>();
    // Never trusted as a length: every call is read before there is room for it.
    const auto count = reader.get<std::uint64_t>();
    for (std::uint64_t i = 0; i < count; ++i) {
      timeline.calls.push_back({0, 0, 0, get_call(reader)});
      first_ticks = std::min(first_ticks, timeline.calls.back().call.begin_ticks);
    }
    if (!reader.at_end()) refuse();
  }
  for (RankTimeline& timeline : timelines) {
    for (TimedCall& timed : timeline.calls) {
      timed.begin_s = static_cast<double>(timed.call.begin_ticks - first_ticks) * tick_s;
      timed.total_s = static_cast<double>(timed.call.total_ticks) * tick_s;
      timed.wait_s = static_cast<double>(timed.call.wait_ticks) * tick_s;
    }
  }
  return timelines;
}

}  // namespace cohort
