#include "collectives/host/message.hpp"

#include <cstring>

#include "base/test_message.hpp"
#include "base/test_point.hpp"

namespace cohort::host {

using collectives::CallNote;
using collectives::CallRecord;
using collectives::Place;

Message::Message(PairChannel& pairs, const collectives::Call& call, Path path)
    : pairs_(&pairs),
      call_(&call),
      path_(path),
      from_(call.root.index()),
      to_(call.to.index()),
      hash_(collectives::call_hash(pairs.channel().identity(), call, path)) {
  const std::uint32_t self = pairs.channel().self();
  sequence_ =
      1 + (call.op == Op::send ? pairs.words(self, to_).sent
                               : pairs.words(self, from_).credit.load(std::memory_order_relaxed));
}

std::string Message::describe() const {
  return collectives::describe(record({})) + " on " +
         collectives::describe(channel().identity().kind, channel().ranks()) + " lane " +
         std::to_string(channel().identity().lane.index()) + ", message " +
         std::to_string(sequence_);
}

CallRecord Message::record(Place place) const noexcept {
  return collectives::record_of(*call_, path_, sequence_, place, channel().identity().generation);
}

void Message::await_place() {
  wait_ticks_ += pairs_->await_credit(to_, sequence_ - heap::kPlaceCount, "send");
}

std::size_t Message::claim_staging() {
  return pairs_->claim_staging(to_, sequence_, wait_ticks_);
}

void Message::publish(Place place) {
  HeaderPlace& mine = this->place();
  test_point("send.header");
  mine.hash = hash_;
  mine.place = place.word();
  pairs_->words(from_, to_).sent = sequence_;
  test_words("send.header", bytes_of_object(mine));
  test_point("send.publish");
  mine.sequence.store(sequence_, std::memory_order_seq_cst);
  channel().domain().wake();
}

void Message::publish_inline(Place place, const void* data, std::size_t bytes) {
  sent_note().call.store(record(place));
  if (bytes != 0) std::memcpy(this->place().payload, data, bytes);
  publish(place);
}

void Message::publish_pull(Place place, std::uint64_t offset) {
  sent_note().call.store(record(place));
  std::memcpy(this->place().payload, &offset, sizeof(offset));
  publish(place);
}

void Message::publish_refusal(ErrorCode code, const std::string& why) {
  const Place place = Place::refused(code);
  sent_note().call.store(record(place));
  collectives::write_refusal(sent_note(), why);
  publish(place);
}

bool Message::arrive(bool compare) {
  const HeaderPlace& theirs = place();
  const auto ready = [&] {
    return reached(theirs.sequence.load(std::memory_order_seq_cst), sequence_);
  };
  if (!ready()) {
    const std::uint64_t begin = collectives::ticks();
    Domain& domain = channel().domain();
    domain.wait_for(world_rank(from_), domain.limits().steady, ready, [this] {
      return WaitSubject{"recv", describe()};
    });
    wait_ticks_ += collectives::ticks() - begin;
  }
  test_point("recv.compare");
  if (Place::from_word(theirs.place).kind() == Place::Kind::refused) return false;
  if (compare && theirs.hash != hash_) fail_mismatch("the two sides differ");
  return true;
}

bool Message::is_staged() const noexcept {
  return Place::from_word(place().place).kind() == Place::Kind::staged;
}

const std::byte* Message::operand(std::size_t bytes) const {
  std::uint64_t offset = 0;
  std::memcpy(&offset, place().payload, sizeof(offset));
  const std::size_t arena_bytes = channel().arena_bytes();
  if (offset > arena_bytes || bytes > arena_bytes - offset) {
    fail_mismatch("the operand lies outside its rank's arena");
  }
  return channel().arena_of(from_) + offset;
}

void Message::leave_refusal(ErrorCode code, const std::string& why) {
  CallNote& note = pairs_->words(to_, from_).refusals[sequence_ % heap::kPlaceCount];
  note.call.store(record(Place::refused(code)));
  collectives::write_refusal(note, why);
}

void Message::give_credit() {
  test_point("recv.credit");
  pairs_->words(to_, from_).credit.store(sequence_, std::memory_order_seq_cst);
  channel().domain().wake();
}

Error Message::sender_refusal() const {
  const CallNote& note = sent_note();
  return Error(collectives::refusal_code(note),
               "rank " + std::to_string(world_rank(from_).index()) + " refused " + describe() +
                   ": " + collectives::read_refusal(note),
               world_rank(from_), std::string(to_string(call_->op)));
}

void Message::fail_mismatch(const std::string& difference) const {
  const CallRecord mine = record({});
  const CallRecord theirs = sent_note().call.load();
  const std::string text =
      difference + collectives::other_generation(mine, theirs) + " in message " +
      std::to_string(sequence_) + " from rank " + std::to_string(world_rank(from_).index()) +
      " to rank " + std::to_string(world_rank(to_).index()) + " on " +
      collectives::describe(channel().identity().kind, channel().ranks()) + " lane " +
      std::to_string(channel().identity().lane.index()) + ": rank " +
      std::to_string(world_rank(to_).index()) + " called " + collectives::describe(mine) +
      ", rank " + std::to_string(world_rank(from_).index()) + " called " +
      collectives::describe(theirs);
  channel().domain().fail(
      Error(ErrorCode::mismatch, text, world_rank(from_), std::string(to_string(call_->op))));
}

}  // namespace cohort::host
