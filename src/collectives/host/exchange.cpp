#include "collectives/host/exchange.hpp"

#include "base/checks.hpp"
#include "base/test_message.hpp"
#include "base/test_point.hpp"

namespace cohort::host {

using collectives::CallNote;
using collectives::CallRecord;
using collectives::Place;

namespace {

void keep_lowest(std::optional<std::uint32_t>& lowest, std::uint32_t member) {
  if (!lowest || member < *lowest) lowest = member;
}

}  // namespace

Exchange::Exchange(Channel& channel, const collectives::Call& call, Path path)
    : channel_(&channel),
      call_(&call),
      path_(path),
      sequence_(channel.next_sequence()),
      hash_(kChecked ? collectives::call_hash(channel.identity(), call, path) : 0) {}

void Exchange::publish(Place place) {
  place_ = place;
  HeaderPlace& mine = channel_->place_of(self(), sequence_);
  if (test_leaves_out("order of the header")) mine.sequence.store(sequence_);
  test_point("call.header");
  mine.hash = hash_;
  mine.place = place.word();
  // The full barrier orders this store before the look at the sleepers: a peer that goes to sleep
  // either sees the sequence or is seen.
  test_words("call.header", bytes_of_object(mine));
  test_point("call.publish");
  mine.sequence.store(sequence_, std::memory_order_seq_cst);
  channel_->domain().wake();
}

void Exchange::note_call(Place place) {
  if constexpr (kChecked) {
    channel_->own().notes[sequence_ % heap::kPlaceCount].call.store(record(place));
  }
}

void Exchange::publish_inline(Place place, const void* data, std::size_t bytes) {
  note_call(place);
  if (bytes != 0) std::memcpy(channel_->place_of(self(), sequence_).payload, data, bytes);
  publish(place);
}

void Exchange::publish_pull(Place place, const PullOffsets& offsets) {
  note_call(place);
  std::memcpy(channel_->place_of(self(), sequence_).payload, &offsets, sizeof(offsets));
  result_place_ = Place::from_word(offsets.result_place);
  in_place_ = offsets.in_place != 0;
  if (place.kind() == Place::Kind::staged) keep_lowest(first_staged_, self());
  if (result_place_.kind() == Place::Kind::staged) keep_lowest(staged_result(), self());
  publish(place);
}

void Exchange::publish_refusal(ErrorCode code, const std::string& why) {
  const Place place = Place::refused(code);
  CallNote& note = channel_->own().notes[sequence_ % heap::kPlaceCount];
  note.call.store(record(place));
  collectives::write_refusal(note, why);
  keep_lowest(first_refused_, self());
  publish(place);
}

template <typename Ready>
void Exchange::await(std::uint32_t member, const Ready& ready) {
  if (ready()) return;
  if (kChecked && wait_began_ == 0) wait_began_ = collectives::ticks();
  Domain& domain = channel_->domain();
  domain.wait_for(channel_->ranks()[member], domain.limits().steady, ready, [this] {
    return WaitSubject{to_string(call_->op), describe()};
  });
}

/// Books the waits since the last call of this as one: a look at the clock for each would cost more
/// than most of them take.
void Exchange::end_wait() noexcept {
  if (wait_began_ == 0) return;
  last_ticks_ = collectives::ticks();
  wait_ticks_ += last_ticks_ - wait_began_;
  wait_began_ = 0;
}

bool Exchange::arrive(std::uint32_t member) {
  const bool here = read_header(member);
  end_wait();
  return here;
}

bool Exchange::read_header(std::uint32_t member) {
  if (member == self()) return place_.kind() != Place::Kind::refused;
  const bool reads = call_->op != Op::broadcast || call_->root.index() != self();
  if (!reads && test_leaves_out("the root's look at headers")) return true;
  const HeaderPlace& theirs = channel_->place_of(member, sequence_);
  await(member,
        [&] { return reached(theirs.sequence.load(std::memory_order_seq_cst), sequence_); });
  test_point("call.compare");
  compare(member, theirs);
  return Place::from_word(theirs.place).kind() != Place::Kind::refused;
}

bool Exchange::arrive_all() {
  for (const std::uint32_t member : channel_->pull_order()) read_header(member);
  end_wait();
  return !first_refused_.has_value();
}

void Exchange::compare(std::uint32_t member, const HeaderPlace& theirs) {
  if constexpr (!kChecked) {
    in_place_ = in_place_ || (path_ != Path::host_inline && offsets_of(member).in_place != 0);
    return;
  }
  const Place place = Place::from_word(theirs.place);
  if (place.kind() == Place::Kind::refused) {
    keep_lowest(first_refused_, member);
    return;
  }
  if (place_.kind() == Place::Kind::refused || test_leaves_out("headers")) return;
  if (theirs.hash != hash_) fail_mismatch(member, "the calls differ");
  if (collectives::places_differ(place_, place)) {
    fail_mismatch(member, "the operands lie in different entries or blocks");
  }
  if (path_ == Path::host_inline) return;
  const PullOffsets offsets = offsets_of(member);
  const Place result_place = Place::from_word(offsets.result_place);
  if (collectives::places_differ(result_place_, result_place)) {
    fail_mismatch(member, "the results lie in different entries or blocks");
  }
  in_place_ = in_place_ || offsets.in_place != 0;
  if (place.kind() == Place::Kind::staged) keep_lowest(first_staged_, member);
  if (result_place.kind() == Place::Kind::staged) keep_lowest(staged_result(), member);
}

void Exchange::fail_mismatch(std::uint32_t member, const std::string& difference) {
  const CallRecord mine = record(place_);
  const CallRecord theirs =
      channel_->words_of(member).notes[sequence_ % heap::kPlaceCount].call.load();
  const WorldRank peer = channel_->ranks()[member];
  const std::string text =
      difference + collectives::other_generation(mine, theirs) + " in call " +
      std::to_string(sequence_) + " on " +
      collectives::describe(channel_->identity().kind, channel_->ranks()) + " lane " +
      std::to_string(channel_->identity().lane.index()) + ": rank " +
      std::to_string(channel_->ranks()[self()].index()) + " called " + collectives::describe(mine) +
      ", rank " + std::to_string(peer.index()) + " called " + collectives::describe(theirs);
  channel_->domain().fail(
      Error(ErrorCode::mismatch, text, peer, std::string(to_string(call_->op))));
}

PullOffsets Exchange::offsets_of(std::uint32_t member) const noexcept {
  PullOffsets offsets;
  std::memcpy(&offsets, channel_->place_of(member, sequence_).payload, sizeof(offsets));
  return offsets;
}

const std::byte* Exchange::checked(std::uint32_t member, std::uint64_t base, std::size_t begin,
                                   std::size_t bytes) {
  const std::size_t arena_bytes = channel_->arena_bytes();
  if (base > arena_bytes || begin > arena_bytes - base || bytes > arena_bytes - base - begin) {
    fail_mismatch(member, "an operand lies outside its rank's arena");
  }
  return channel_->arena_of(member) + base + begin;
}

const std::byte* Exchange::operand(std::uint32_t member, std::size_t begin, std::size_t bytes) {
  test_point("call.read");
  return checked(member, offsets_of(member).operand, begin, bytes);
}

const std::byte* Exchange::result(std::uint32_t member, std::size_t begin, std::size_t bytes) {
  test_point("call.read_result");
  return checked(member, offsets_of(member).result, begin, bytes);
}

void Exchange::publish_result() {
  test_point("call.result");
  channel_->own().result_ready.store(sequence_, std::memory_order_seq_cst);
  channel_->domain().wake();
}

void Exchange::await_result(std::uint32_t member) {
  const std::atomic<std::uint64_t>& word = channel_->words_of(member).result_ready;
  await(member, [&] { return reached(word.load(std::memory_order_seq_cst), sequence_); });
  end_wait();
}

void Exchange::publish_piece(std::uint64_t piece) {
  channel_->own().pieces.store((sequence_ << SyncWords::kPieceBits) + piece,
                               std::memory_order_seq_cst);
  channel_->domain().wake();
}

void Exchange::await_piece(std::uint32_t member, std::uint64_t piece) {
  const std::atomic<std::uint64_t>& word = channel_->words_of(member).pieces;
  const std::uint64_t wanted = (sequence_ << SyncWords::kPieceBits) + piece;
  await(member, [&] { return reached(word.load(std::memory_order_seq_cst), wanted); });
  end_wait();
}

void Exchange::publish_done() {
  test_point("call.done");
  channel_->own().done.store(sequence_, std::memory_order_seq_cst);
  channel_->domain().wake();
}

void Exchange::use_results() noexcept {
  if (first_staged_result_) keep_lowest(first_staged_, *first_staged_result_);
}

void Exchange::rethrow_refusal() const {
  if (!first_refused_) return;
  const std::uint32_t member = *first_refused_;
  const CallNote& note = channel_->words_of(member).notes[sequence_ % heap::kPlaceCount];
  const WorldRank rank = channel_->ranks()[member];
  throw Error(collectives::refusal_code(note),
              "rank " + std::to_string(rank.index()) + " refused " + describe() + ": " +
                  collectives::read_refusal(note),
              rank, std::string(to_string(call_->op)));
}

std::string Exchange::describe() const {
  return collectives::describe(record(place_)) + " on " +
         collectives::describe(channel_->identity().kind, channel_->ranks()) + " lane " +
         std::to_string(channel_->identity().lane.index()) + ", call " + std::to_string(sequence_);
}

CallRecord Exchange::record(Place place) const noexcept {
  return collectives::record_of(*call_, path_, sequence_, place, channel_->identity().generation);
}

}  // namespace cohort::host
