#include "collectives/header.hpp"

#include <array>
#include <atomic>
#include <functional>
#include <set>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace cohort::collectives {
namespace {

TEST(Place, CarriesWhatItWasGiven) {
  for (const std::uint32_t slot : {0U, 1U, 0xFFFEU}) {
    for (const std::uint32_t entry : {0U, 7U, 0xFFFFU}) {
      const Place place = Place::from_word(Place::in_heap({slot, entry}).word());
      EXPECT_EQ(place.kind(), Place::Kind::heap);
      EXPECT_EQ(place.entry(), (heap::EntryId{slot, entry}));
    }
  }
  EXPECT_EQ(Place::from_word(Place::in_staging().word()).kind(), Place::Kind::staged);
  EXPECT_EQ(Place{}.kind(), Place::Kind::none);
  for (const ErrorCode code : {ErrorCode::usage, ErrorCode::strict_miss, ErrorCode::system}) {
    const Place place = Place::from_word(Place::refused(code).word());
    EXPECT_EQ(place.kind(), Place::Kind::refused);
    EXPECT_EQ(place.code(), code);
  }
}

TEST(Place, OnlyTwoHeapPlacesCanDiffer) {
  const std::array places = {Place{}, Place::in_heap({1, 2}), Place::in_heap({1, 3}),
                             Place::in_heap({2, 2}), Place::in_staging()};
  for (std::size_t i = 0; i < places.size(); ++i) {
    for (std::size_t j = 0; j < places.size(); ++j) {
      const bool both_heap = i >= 1 && i <= 3 && j >= 1 && j <= 3;
      EXPECT_EQ(places_differ(places[i], places[j]), both_heap && i != j);
    }
  }
}

struct Scene {
  ChannelIdentity channel{GroupKind::tp, 1, Lane{2}, 3};
  Call call;
  Path path = Path::host_direct;
  std::vector<std::size_t> counts = {1, 2, 3};
  std::vector<float> data = std::vector<float>(64);

  explicit Scene(Op op = Op::all_reduce) {
    call.op = op;
    call.dtype = DType::f32;
    call.input = {data.data(), 8, DType::f32};
    call.output = {data.data(), 8, DType::f32};
    call.counts = counts;
  }
  std::uint64_t hash() {
    call.counts = counts;
    return call_hash(channel, call, path);
  }
};

TEST(CallHash, ChangesWithEveryAgreedField) {
  const std::vector<std::function<void(Scene&)>> changes = {
      [](Scene&) {},
      [](Scene& s) { s.channel.kind = GroupKind::attn; },
      [](Scene& s) { s.channel.instance = 2; },
      [](Scene& s) { s.channel.lane = Lane{3}; },
      [](Scene& s) { s.channel.generation = 4; },
      [](Scene& s) { s.call.reduce_op = ReduceOp::max; },
      [](Scene& s) { s.call.dtype = DType::i32; },
      [](Scene& s) { s.path = Path::host_inline; },
      [](Scene& s) {
        s.counts = {1, 3, 2};
      },
      [](Scene& s) {
        s.counts = {1, 2, 3, 0};
      },
      [](Scene& s) { s.call.op = Op::all_gatherv; },
  };
  std::set<std::uint64_t> hashes;
  for (const auto& change : changes) {
    Scene scene(Op::reduce_scatterv);
    change(scene);
    hashes.insert(scene.hash());
  }
  EXPECT_EQ(hashes.size(), changes.size());
}

TEST(CallHash, BytesAndRootCountWhereTheyAreUsed) {
  Scene reduce;
  const std::uint64_t before = reduce.hash();
  reduce.call.root = GroupRank{1};  // all_reduce has no root
  EXPECT_EQ(reduce.hash(), before);
  reduce.call.input.elements = 9;
  EXPECT_NE(reduce.hash(), before);

  Scene broadcast(Op::broadcast);
  const std::uint64_t root_zero = broadcast.hash();
  broadcast.call.reduce_op = ReduceOp::min;  // broadcast does not reduce
  EXPECT_EQ(broadcast.hash(), root_zero);
  broadcast.call.root = GroupRank{1};
  EXPECT_NE(broadcast.hash(), root_zero);
}

TEST(CallHash, BothSidesOfAMessageAreOneCall) {
  Scene sent(Op::send);
  sent.call.root = GroupRank{0};
  sent.call.to = GroupRank{2};
  sent.call.output.elements = 0;
  Scene received(Op::recv);
  received.call.root = GroupRank{0};
  received.call.to = GroupRank{2};
  received.call.input.elements = 0;
  EXPECT_EQ(sent.hash(), received.hash());
  std::set<std::uint64_t> hashes = {sent.hash()};
  received.call.output.elements = 7;
  EXPECT_TRUE(hashes.insert(received.hash()).second);
  received.call.output.elements = 8;
  received.call.to = GroupRank{1};
  EXPECT_TRUE(hashes.insert(received.hash()).second);
  received.call.root = GroupRank{2};
  EXPECT_TRUE(hashes.insert(received.hash()).second);
  received.call.op = Op::broadcast;
  EXPECT_TRUE(hashes.insert(received.hash()).second);
  EXPECT_EQ(describe(record_of(sent.call, Path::host_direct, 4, Place{})),
            "send(0 to 2, f32, 32 bytes, host_direct)");
}

TEST(CallHash, WhereAnOperandLiesIsNotInIt) {
  Scene scene;
  const std::uint64_t before = scene.hash();
  std::vector<float> elsewhere(8);
  scene.call.input.data = elsewhere.data();
  EXPECT_EQ(scene.hash(), before);
}

TEST(AgreedBytes, AreWhatEveryMemberKnows) {
  Scene scene(Op::all_gatherv);
  scene.call.input.elements = 2;  // this rank's own part does not matter
  EXPECT_EQ(agreed_bytes(scene.call), 3 * sizeof(float));
  scene.call.op = Op::reduce_scatterv;
  EXPECT_EQ(agreed_bytes(scene.call), 6 * sizeof(float));
  scene.call.op = Op::all_gather;
  EXPECT_EQ(agreed_bytes(scene.call), 2 * sizeof(float));
  scene.call.op = Op::barrier;
  EXPECT_EQ(agreed_bytes(scene.call), 0U);
  scene.call.op = Op::all_to_all;
  EXPECT_EQ(agreed_bytes(scene.call), 2 * sizeof(float));
  scene.counts = {1, 2, 8, 0, 0, 9, 5, 5, 0};
  scene.call.op = Op::all_to_allv;
  scene.call.counts = scene.counts;
  EXPECT_EQ(agreed_bytes(scene.call), 11 * sizeof(float));
  scene.call.counts = scene.call.counts.first(8);  // no square: refused later, but not read beyond
  EXPECT_EQ(agreed_bytes(scene.call), 0U);
}

TEST(Describe, SaysACallInPlainWords) {
  Scene scene;
  EXPECT_EQ(describe(record_of(scene.call, Path::host_direct, 4, Place::in_heap({2, 1}))),
            "all_reduce(sum, f32, 32 bytes, host_direct, slot 2 entry 1)");
  scene.call.op = Op::broadcast;
  scene.call.root = GroupRank{2};
  EXPECT_EQ(describe(record_of(scene.call, Path::host_inline, 4, Place{})),
            "broadcast(root 2, f32, 32 bytes, host_inline)");
  scene.call.op = Op::barrier;
  EXPECT_EQ(describe(record_of(scene.call, Path::host_inline, 4, Place{})), "barrier");
  const std::array ranks = {WorldRank{0}, WorldRank{2}};
  EXPECT_EQ(describe(GroupKind::attn_cp, ranks), "attn_cp [0, 2]");
}

TEST(NotedCall, IsReadWholeOrNotAtAll) {
  Scene scene;
  NotedCall noted;
  noted.clear(4);
  EXPECT_FALSE(noted.load_of(4)) << "no call yet, also if the count begins at 4";
  const CallRecord first = record_of(scene.call, Path::host_direct, 5, Place::in_heap({2, 1}), 7);
  noted.store(first);
  ASSERT_TRUE(noted.load_of(5));
  EXPECT_EQ(describe(*noted.load_of(5)), describe(first));
  EXPECT_EQ(noted.load_of(5)->generation, 7U);
  EXPECT_FALSE(noted.load_of(3));

  // What a peer sees of a rank that goes on belongs to the call that it asked for.
  std::atomic<std::uint64_t> published{5};
  std::atomic<bool> enough{false};
  std::thread owner([&] {
    CallRecord next = first;
    for (std::uint64_t call = 7; !enough.load(); call += 2) {
      next.sequence = next.bytes = next.counts_hash = next.place = call;
      next.root = next.receiver = next.generation = static_cast<std::uint32_t>(call);
      noted.store(next);
      published.store(call);
      if (call % 16 == 1) std::this_thread::yield();
    }
  });
  for (int seen = 0; seen < 200;) {
    const std::uint64_t call = published.load();
    const auto record = noted.load_of(call);
    if (call == 5 || !record) continue;
    ++seen;
    ASSERT_EQ(record->bytes, call);
    ASSERT_EQ(record->place, call);
    ASSERT_EQ(record->generation, static_cast<std::uint32_t>(call));
  }
  enough = true;
  owner.join();
}

TEST(Describe, TellsThatCallsAreOfDifferentGenerations) {
  CallRecord one;
  CallRecord other;
  EXPECT_EQ(other_generation(one, other), "");
  one.generation = 2;
  other.generation = 3;
  EXPECT_EQ(other_generation(one, other),
            " (one of generation 2, the other of generation 3 of the plan)");
}

TEST(Refusal, OfARankThatWritesNonsenseStaysWithinItsNote) {
  CallNote note;
  std::fill(std::begin(note.refusal), std::end(note.refusal), 'x');
  EXPECT_EQ(read_refusal(note), std::string(sizeof(note.refusal), 'x'));
  CallRecord record;
  record.place = Place::refused(static_cast<ErrorCode>(99)).word();
  note.call.store(record);
  EXPECT_EQ(refusal_code(note), ErrorCode::corrupt);
  record.place = Place::refused(ErrorCode::usage).word();
  note.call.store(record);
  EXPECT_EQ(refusal_code(note), ErrorCode::usage);
}

}  // namespace
}  // namespace cohort::collectives
