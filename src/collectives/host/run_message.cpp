// send and recv of the executor: what is particular to calls between two members.

#include <cohort/error.hpp>

#include "base/test_point.hpp"
#include "collectives/host/copy.hpp"
#include "collectives/host/host_executor.hpp"
#include "collectives/host/message.hpp"
#include "collectives/path_table.hpp"

namespace cohort::host {

using collectives::Call;
using collectives::Place;

namespace {

/// What makes a call no message of this group at all: there is no peer to tell, so nothing is
/// published.
void check_peer(const Channel& channel, const Call& call, bool planned) {
  const std::string phase(to_string(call.op));
  if (!planned) {
    throw Error(ErrorCode::usage,
                phase + " on group " + std::string(to_string(channel.identity().kind)) +
                    ": the plan has no memory for it; declare it with Plan::send_recv",
                std::nullopt, phase);
  }
  const std::uint32_t peer = call.op == Op::send ? call.to.index() : call.root.index();
  if (peer >= channel.size()) {
    throw Error(ErrorCode::usage,
                phase + ": group rank " + std::to_string(peer) + " in a group of " +
                    std::to_string(channel.size()),
                std::nullopt, phase);
  }
  if (peer == channel.self()) {
    throw Error(ErrorCode::usage,
                phase + ": group rank " + std::to_string(peer) + " is the calling rank itself",
                std::nullopt, phase);
  }
}

std::string refusal_text(WorldRank rank, const Message& message, const std::string& why) {
  return "rank " + std::to_string(rank.index()) + " refused " + message.describe() + ": " + why;
}

}  // namespace

void HostExecutor::open_pairs(Channel& channel, const heap::SendRecvRegion& region) {
  if (region.peers == 0) {
    pairs_.push_back(nullptr);
    return;
  }
  pairs_.push_back(std::make_unique<PairChannel>(channel, reader_count_));
  reader_count_ += region.peers;
}

Verdict HostExecutor::run_message(Channel& channel, const Call& call) {
  PairChannel* const pairs = pairs_[channel.index()].get();
  check_peer(channel, call, pairs != nullptr);
  const std::uint64_t begin = collectives::ticks();
  const PathChoice choice = choice_of(channel, call);
  throw_if_strict_forbids(channel, call, choice);
  Operands operands;
  const auto fault = prepare(channel, call, choice.path, operands);
  if (!fault && operands.output) await_readers(*operands.output);

  Message message(*pairs, call, choice.path);
  Verdict verdict{choice.path, choice.reason, 0};
  if (call.op == Op::send) {
    send(*pairs, message, call, operands, fault, verdict);
  } else {
    receive(message, call, fault, verdict);
  }
  book(channel, call, verdict, {begin, collectives::ticks() - begin, message.wait_ticks()});
  return verdict;
}

void HostExecutor::send(PairChannel& pairs, Message& message, const Call& call,
                        const Operands& operands, const std::optional<std::string>& fault,
                        Verdict& verdict) {
  message.await_place();
  // Its words may be overwritten once this message is published.
  const auto refused = pairs.next_refusal(call.to.index());
  if (fault) {
    message.publish_refusal(ErrorCode::usage, *fault);
    std::string text = refusal_text(message.sender(), message, *fault);
    if (refused)
      text += "; before that, " + describe(*refused, message.sender(), message.receiver());
    throw Error(ErrorCode::usage, text, message.sender(), "send");
  }
  publish_message(pairs, message, call, operands, verdict);
  if (refused) throw_refused(pairs, call.to.index(), *refused);
  if (plan_->options().strict && verdict.copied_bytes != 0) {
    throw_strict_miss(pairs.channel().ranks()[call.root.index()], message.describe(), Op::send);
  }
}

void HostExecutor::publish_message(PairChannel& pairs, Message& message, const Call& call,
                                   const Operands& operands, Verdict& verdict) {
  const std::size_t bytes = call.input.elements * bytes_of(call.dtype);
  const bool staged = verdict.path == Path::host_staged;
  const bool in_heap = operands.input.has_value() && slots_in_arena_ && !staged;
  Place place;
  if (in_heap) place = place_of(*operands.input);
  if (verdict.path == Path::host_inline) {
    message.publish_inline(place, call.input.data, bytes);
    return;
  }
  std::uint64_t offset = 0;
  if (in_heap) {
    offset = operands.input->offset;
    note_use(*operands.input, pairs.reader_of(call.to.index()), message.sequence());
  } else if (bytes != 0) {
    place = Place::in_staging();
    offset = message.claim_staging();
    test_point("send.stage");
    const Channel& channel = pairs.channel();
    copy_bytes(channel.arena_of(channel.self()) + offset,
               static_cast<const std::byte*>(call.input.data), bytes);
    verdict.copied_bytes = bytes;
    if (verdict.reason == Reason::ok && !staged) verdict.reason = staged_reason(call.input.data);
  }
  message.publish_pull(place, offset);
}

void HostExecutor::receive(Message& message, const Call& call,
                           const std::optional<std::string>& fault, const Verdict& verdict) {
  const std::size_t bytes = call.output.elements * bytes_of(call.dtype);
  if (!message.arrive(!fault.has_value())) {
    // Built first: once credited, the sender may write its next refusal over this one.
    const Error refusal = message.sender_refusal();
    message.give_credit();
    throw refusal;
  }
  if (fault) {
    message.leave_refusal(ErrorCode::usage, *fault);
    message.give_credit();
    throw Error(ErrorCode::usage, refusal_text(message.receiver(), message, *fault),
                message.receiver(), "recv");
  }
  const bool staged = message.is_staged();
  test_point("recv.read");
  if (bytes != 0) {
    const std::byte* const from =
        verdict.path == Path::host_inline ? message.inline_operand() : message.operand(bytes);
    copy_bytes(static_cast<std::byte*>(call.output.data), from, bytes);
  }
  message.give_credit();
  if (plan_->options().strict && staged) {
    throw_strict_miss(message.sender(), message.describe(), Op::recv);
  }
}

void HostExecutor::throw_refused(const PairChannel& pairs, std::uint32_t peer,
                                 const RefusedMessage& refused) {
  const auto ranks = pairs.channel().ranks();
  throw Error(refused.code, describe(refused, ranks[pairs.channel().self()], ranks[peer]),
              ranks[peer], "send");
}

void HostExecutor::await_readers(const heap::HeapOperand& operand) {
  if (test_leaves_out("the wait for readers")) return;
  const auto wait = [this](std::size_t reader, std::uint64_t sequence) {
    if (reader < channels_.size()) {
      channels_[reader]->await_done(sequence);
      return;
    }
    const auto [pairs, peer] = pair_of(reader);
    pairs->await_credit(peer, sequence, "take");
  };
  if (operand.block.exists()) {
    pools_->settle(operand.block, wait);
  } else {
    rings_->settle(operand.entry, wait);
  }
}

template <typename SettleWith>
void HostExecutor::settle_and_report(const SettleWith& settle_with) {
  if (test_leaves_out("the wait for readers")) return;
  PairChannel* refusing = nullptr;
  std::uint32_t refusing_peer = 0;
  std::optional<RefusedMessage> refused;
  settle_with([&](std::size_t reader, std::uint64_t sequence) {
    if (reader < channels_.size()) {
      channels_[reader]->await_done(sequence);
      return;
    }
    const auto [pairs, peer] = pair_of(reader);
    pairs->await_credit(peer, sequence, "take");
    if (refused) return;
    refused = pairs->next_refusal(peer);
    refusing = pairs;
    refusing_peer = peer;
  });
  if (refused) throw_refused(*refusing, refusing_peer, *refused);
}

void HostExecutor::settle(heap::EntryId entry) {
  settle_and_report([&](const auto& wait) { rings_->settle(entry, wait); });
}

void HostExecutor::settle(heap::BlockId block) {
  settle_and_report([&](const auto& wait) { pools_->settle(block, wait); });
}

std::pair<PairChannel*, std::uint32_t> HostExecutor::pair_of(std::size_t reader) const {
  for (const auto& pairs : pairs_) {
    if (pairs == nullptr || reader < pairs->first_reader()) continue;
    const std::size_t peer = reader - pairs->first_reader();
    if (peer < pairs->region().peers) return {pairs.get(), static_cast<std::uint32_t>(peer)};
  }
  return {nullptr, 0};
}

}  // namespace cohort::host
