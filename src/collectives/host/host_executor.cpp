#include "collectives/host/host_executor.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <numeric>

#include <cohort/error.hpp>

#include "base/checks.hpp"
#include "base/test_point.hpp"
#include "collectives/call_check.hpp"
#include "collectives/host/algorithms.hpp"
#include "collectives/host/copy.hpp"
#include "collectives/host/operand_bytes.hpp"
#include "collectives/host/reduce.hpp"
#include "collectives/partition.hpp"
#include "collectives/path_table.hpp"
#include "collectives/rms_norm.hpp"

namespace cohort::host {

using collectives::Call;
using collectives::Place;

namespace {

/// When a call ended. After the last wait one so small takes less time than a look at the clock.
std::uint64_t end_ticks(const Exchange& exchange, Path path) noexcept {
  constexpr std::size_t kTinyBytes = 256;
  if (!kChecked) return 0;
  const bool tiny = path == Path::host_inline && output_bytes(exchange.call()) <= kTinyBytes;
  return tiny && exchange.last_ticks() != 0 ? exchange.last_ticks() : collectives::ticks();
}

void note_copies(Verdict& verdict) noexcept {
  // A table may stage every operand: that is then as promised.
  if (verdict.path == Path::host_staged) return;
  if (verdict.copied_bytes != 0 && verdict.reason == Reason::ok) {
    verdict.reason = Reason::operand_not_in_heap;
  }
}

/// Bytes of the part that this rank reduces in all_reduce.
std::size_t own_part_bytes(const Exchange& exchange) noexcept {
  const std::size_t element = exchange.element_bytes();
  return element * collectives::part_of(exchange.call().input.elements, exchange.size(),
                                        exchange.self(), element)
                       .count;
}

/// Whether peers read this rank's operand beside its header rather than where it lies.
bool is_carried(const Exchange& exchange) noexcept {
  const Call& call = exchange.call();
  const std::size_t bytes = input_bytes(call);
  return call.op == Op::all_reduce && call.input.data == call.output.data &&
         bytes <= kCarriedBytesMax && collectives::reduces_whole(exchange.size(), bytes);
}

/// Whether others read from this rank what it receives itself.
bool is_relay(const Exchange& exchange) noexcept {
  const Call& call = exchange.call();
  if (call.op != Op::broadcast || call.output.elements == 0) return false;
  if (call.root.index() == exchange.self()) return false;
  const auto parents = exchange.channel().broadcast_parents(call.root.index());
  return std::find(parents.begin(), parents.end(), exchange.self()) != parents.end();
}

}  // namespace

HostExecutor::HostExecutor(Domain& domain, const Arena& arena, const Plan& plan,
                           const heap::ArenaLayout& layout, std::byte* slots,
                           heap::SlotRings& rings, const HostExecutorOptions& options)
    : plan_(std::make_shared<Plan>(plan)),
      view_(plan, layout, plan.layout().pipeline_stage(domain.rank()), slots),
      rings_(&rings),
      pools_(options.pools),
      slots_in_arena_(layout.slots_in_arena),
      crowded_(options.crowded),
      channel_index_(plan.options().lanes) {
  std::size_t largest_group = 1;
  const std::uint32_t stage = plan.layout().pipeline_stage(domain.rank());
  for (const heap::ChannelRegion& region : layout.channels) {
    if (!heap::is_held_by(region.section, stage)) continue;
    const auto index = plan_->layout().group_index(region.kind, domain.rank());
    if (region.sync_offset >= options.kept_bytes) {
      Channel::initialise(arena.local(), region, options.first_sequence);
      PairChannel::initialise(arena.local(), region.messages, options.first_sequence);
    }
    if (!index) continue;  // a rank that is no leader has no such group
    channel_index_.add(region.kind, channels_.size());
    const auto ranks = plan_->layout().group_of(region.kind, domain.rank());
    const auto self = std::find(ranks.begin(), ranks.end(), domain.rank()) - ranks.begin();
    largest_group = std::max(largest_group, ranks.size());
    std::vector<std::uint32_t> nodes(ranks.size());
    for (std::size_t i = 0; i < ranks.size() && !options.nodes.empty(); ++i) {
      nodes[i] = options.nodes[ranks[i].index()];
    }
    channels_.push_back(std::make_unique<Channel>(
        domain, arena, region,
        collectives::ChannelIdentity{region.kind, *index, region.lane, options.generation},
        Membership{ranks, GroupRank{static_cast<std::uint32_t>(self)}, nodes}, channels_.size()));
  }
  operand_scratch_.resize(largest_group);
  reader_count_ = channels_.size();
  for (const auto& channel : channels_) open_pairs(*channel, channel->region().messages);
}

void HostExecutor::attach() {
  for (const auto& channel : channels_) channel->attach();
}

Verdict HostExecutor::run(GroupKind kind, const Call& call) {
  Channel& channel = *channels_[channel_index_.at(kind, call.lane)];
  if (collectives::is_message(call.op)) return run_message(channel, call);
  const PathChoice choice = choice_of(channel, call);
  const Verdict verdict =
      choice.path == Path::local ? run_local(channel, call) : run_shared(channel, call, choice);
  if (call.norm != nullptr) collectives::norm_on_host(*call.norm, call.output.data);
  return verdict;
}

PathChoice HostExecutor::choice_of(const Channel& channel, const Call& call) const noexcept {
  return collectives::choose_path(
      plan_->options().path_table,
      {channel.size(), plan_->options().symmetry, call.op, collectives::agreed_bytes(call),
       call.dtype, operand_reason(call), crowded_});
}

void HostExecutor::throw_if_strict_forbids(const Channel& channel, const Call& call,
                                           PathChoice choice) const {
  const bool refused = choice.reason == Reason::dtype_unsupported;  // later, on every member
  const bool copies = choice.path == Path::host_staged;             // even where the table says so
  if (!plan_->options().strict || refused || (choice.reason == Reason::ok && !copies)) return;
  throw Error(ErrorCode::strict_miss,
              "strict: " + std::string(to_string(call.op)) + " on " +
                  collectives::describe(channel.identity().kind, channel.ranks()) +
                  " would take path " + std::string(to_string(choice.path)) + " with reason " +
                  std::string(to_string(choice.reason)) + ": " +
                  (choice.reason == Reason::ok
                       ? "the table stages every operand, and strict mode allows no copies"
                       : std::string(explain(choice.reason))),
              std::nullopt, std::string(to_string(call.op)));
}

Verdict HostExecutor::run_local(Channel& channel, const Call& call) {
  const std::uint64_t begin = collectives::ticks();
  Operands operands;
  // With one rank a wrong group does no harm; with more it would, so it is no different here.
  if (const auto fault = prepare(channel, call, Path::local, operands)) {
    throw Error(ErrorCode::usage, std::string(to_string(call.op)) + ": " + *fault, std::nullopt,
                std::string(to_string(call.op)));
  }
  const std::size_t bytes = output_bytes(call);
  if (bytes != 0 && collectives::is_reduction(call.op)) {
    // Through the same code as with peers, so that one rank gets the same bits (canonical NaN).
    operand_scratch_[0] = static_cast<const std::byte*>(call.input.data);
    reduce(std::span(operand_scratch_.data(), 1), static_cast<std::byte*>(call.output.data),
           call.output.elements, call.dtype, call.reduce_op);
  } else if (bytes != 0 && call.input.data != call.output.data) {
    std::memcpy(call.output.data, call.input.data, bytes);
  }
  const Verdict verdict{Path::local, Reason::group_size_one, 0};
  book(channel, call, verdict, {begin, collectives::ticks() - begin, 0});
  return verdict;
}

Verdict HostExecutor::run_shared(Channel& channel, const Call& call, PathChoice choice) {
  throw_if_strict_forbids(channel, call, choice);
  const std::uint64_t begin = kChecked ? collectives::ticks() : 0;
  Operands operands;
  const auto fault = prepare(channel, call, choice.path, operands);
  if (!fault && operands.output) await_readers(*operands.output);

  Exchange exchange(channel, call, choice.path);
  Verdict verdict{choice.path, choice.reason, 0};
  if (fault) {
    exchange.publish_refusal(ErrorCode::usage, *fault);
    exchange.arrive_all();
  } else {
    publish(exchange, operands, choice.path, verdict);
    dispatch(exchange, operands, choice.path, verdict);
  }
  // A refused rank may have taken the call for one that moves inline, while its peers noted uses.
  const bool pulled = choice.path != Path::host_inline;
  if (pulled || (fault && !test_leaves_out("a refused rank's done"))) exchange.publish_done();
  exchange.rethrow_refusal();
  if (plan_->options().strict) throw_if_strict_miss(exchange);
  book(channel, call, verdict,
       {begin, end_ticks(exchange, choice.path) - begin, exchange.wait_ticks()});
  return verdict;
}

void HostExecutor::publish(Exchange& exchange, const Operands& operands, Path path,
                           Verdict& verdict) {
  if (path != Path::host_inline) {
    publish_pull(exchange, operands, verdict);
    return;
  }
  const Call& call = exchange.call();
  Place place;
  if (operands.input && slots_in_arena_) place = place_of(*operands.input);
  const std::size_t bytes = peers_read_input(call, exchange.self()) ? input_bytes(call) : 0;
  exchange.publish_inline(place, call.input.data, bytes);
}

void HostExecutor::publish_pull(Exchange& exchange, const Operands& operands, Verdict& verdict) {
  Channel& channel = exchange.channel();
  const Call& call = exchange.call();
  const std::size_t staging = channel.staging_offset(exchange.sequence());
  const bool direct = slots_in_arena_ && verdict.path != Path::host_staged;
  const bool carried = direct && operands.input && is_carried(exchange);
  Place place;
  PullOffsets offsets;
  if (direct && operands.input) {
    place = place_of(*operands.input);
    offsets.operand = operands.input->offset;
    if (carried) {
      offsets.operand = channel.carried_offset(exchange.sequence());
      std::memcpy(channel.arena_of(exchange.self()) + offsets.operand, call.input.data,
                  input_bytes(call));
    }
  } else if (input_bytes(call) != 0 && peers_read_input(call, exchange.self())) {
    place = Place::in_staging();
    offsets.operand = staging;
    test_point("call.stage");
    copy_bytes(channel.arena_of(exchange.self()) + staging,
               static_cast<const std::byte*>(call.input.data), input_bytes(call));
    verdict.copied_bytes += input_bytes(call);
  }
  if (call.op == Op::all_reduce && input_bytes(call) != 0) {
    if (place.kind() == Place::Kind::staged || !(direct && operands.output)) {
      // Only this rank reads its own part of its staged operand, so the part's sum may replace it.
      offsets.result = staging;
      offsets.result_place = Place::in_staging().word();
    } else {
      offsets.result = operands.output->offset;
      offsets.result_place = place_of(*operands.output).word();
      offsets.in_place = call.input.data == call.output.data && !carried ? 1 : 0;
    }
    result_ = channel.arena_of(exchange.self()) + offsets.result;
  }
  if (is_relay(exchange)) {
    // It fits into staging: the operand is as large as the root's, which lies in the heap or in
    // staging itself, or nobody reads it.
    const bool in_place = direct && operands.output;
    offsets.result = in_place ? operands.output->offset : staging;
    offsets.result_place = (in_place ? place_of(*operands.output) : Place::in_staging()).word();
    if (in_place) {
      note_use(*operands.output, channel.index(), exchange.sequence());
    } else {
      verdict.copied_bytes += output_bytes(call);
    }
    result_ = channel.arena_of(exchange.self()) + offsets.result;
  }
  note_copies(verdict);
  if (place.in_arena() && !carried && peers_read_input(call, exchange.self())) {
    note_use(*operands.input, channel.index(), exchange.sequence());
  }
  test_point("call.noted");
  exchange.publish_pull(place, offsets);
}

/// What peers read directly they all read before anything is overwritten, so unless somebody works
/// in place everybody may reduce everything at once, and one wait is enough.
void HostExecutor::run_all_reduce(Exchange& exchange, const Operands& operands, Verdict& verdict) {
  const std::span<const std::byte*> scratch(operand_scratch_.data(), exchange.size());
  if (!exchange.arrive_all()) return;
  const Call& call = exchange.call();
  if (!exchange.in_place() && collectives::reduces_whole(exchange.size(), input_bytes(call))) {
    reduce_whole(exchange, scratch);
    return;
  }
  if (input_bytes(call) != 0) {
    exchange.use_results();
    const bool staged_operand =
        !(slots_in_arena_ && operands.input) || verdict.path == Path::host_staged;
    if (slots_in_arena_ && operands.output && !staged_operand) {
      note_use(*operands.output, exchange.channel().index(), exchange.sequence());
    } else if (!staged_operand) {
      verdict.copied_bytes += own_part_bytes(exchange);
      note_copies(verdict);
    }
  }
  pull_all_reduce(exchange, result_, scratch);
}

void HostExecutor::dispatch(Exchange& exchange, const Operands& found, Path path,
                            Verdict& verdict) {
  const std::span<const std::byte*> operands(operand_scratch_.data(), exchange.size());
  if (path == Path::host_inline) {
    run_inline(exchange, operands);
    return;
  }
  switch (exchange.call().op) {
    case Op::all_reduce: run_all_reduce(exchange, found, verdict); return;
    case Op::all_gather:
    case Op::all_gatherv: pull_all_gather(exchange); return;
    case Op::reduce_scatter:
    case Op::reduce_scatterv: pull_reduce_scatter(exchange, operands); return;
    case Op::all_to_all:
    case Op::all_to_allv: pull_all_to_all(exchange); return;
    case Op::broadcast: {
      const auto parents = exchange.channel().broadcast_parents(exchange.call().root.index());
      if (parents.empty()) {
        pull_broadcast(exchange);
      } else {
        relay_broadcast(exchange, parents[exchange.self()], is_relay(exchange) ? result_ : nullptr);
      }
      return;
    }
    case Op::barrier: exchange.arrive_all(); return;
    case Op::send:
    case Op::recv: return;  // not collective: see run_message.cpp
  }
}

void HostExecutor::throw_if_strict_miss(const Exchange& exchange) const {
  const auto member = exchange.first_staged();
  if (!member) return;
  throw_strict_miss(exchange.channel().ranks()[*member], exchange.describe(), exchange.call().op);
}

void HostExecutor::throw_strict_miss(WorldRank rank, const std::string& what, Op op) {
  throw Error(ErrorCode::strict_miss,
              "strict: rank " + std::to_string(rank.index()) + "'s operand of " + what +
                  " lies outside the arena (operand_not_in_heap): " +
                  std::string(explain(Reason::operand_not_in_heap)),
              rank, std::string(to_string(op)));
}

void HostExecutor::book(Channel& channel, const Call& call, const Verdict& verdict,
                        const CallTicks& ticks) {
  if constexpr (!kChecked) return;
  collectives::LedgerEntry& entry = channel.ledger().entry(call.op, verdict.path, verdict.reason);
  std::size_t bytes = 0;
  if (call.op == Op::recv) {
    bytes = output_bytes(call);
  } else if (call.op != Op::barrier) {
    bytes = input_bytes(call);
  }
  ++entry.calls;
  entry.bytes += bytes;
  entry.copied_bytes += verdict.copied_bytes;
  entry.total_ticks += ticks.total;
  entry.wait_ticks += ticks.wait;
  if (timeline_ == nullptr) return;
  timeline_->add({ticks.begin, ticks.total, ticks.wait, bytes, verdict.copied_bytes, call.lane,
                  channel.identity().kind, call.op, verdict.path, verdict.reason,
                  timeline_session_});
}

void HostExecutor::check_idle() {
  for (const auto& channel : channels_) channel->check_sequences();
  for (const auto& pairs : pairs_) {
    if (pairs != nullptr) pairs->check_idle();
  }
}

std::vector<std::string> HostExecutor::lost_messages() {
  std::vector<std::string> texts;
  for (const auto& pairs : pairs_) {
    if (pairs == nullptr) continue;
    for (std::string& text : pairs->lost()) texts.push_back(std::move(text));
  }
  return texts;
}

}  // namespace cohort::host
