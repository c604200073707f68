// Long programs of scopes: random ones over overlapping groups, with ranks at random speeds, and
// very many steps after which nothing has grown.

#include <dirent.h>

#include <chrono>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include <cohort/cohort.hpp>

#include "contract/reference_values.hpp"
#include "support/ranks.hpp"

namespace cohort {
namespace {

constexpr std::size_t kElementsMax = 8'000;

/// The same steps on every rank; blocks are poisoned as soon as they are handed out, so that a rank
/// that still reads the bytes would compute something wrong.
class Program {
 public:
  Program(Session& session, WorldRank rank, std::uint64_t seed)
      : session_(&session), rank_(rank), shared_(seed), own_(seed * 31 + rank.index()) {}

  void run(int steps) {
    for (int step = 0; step < steps; ++step) {
      const std::uint64_t choice = shared_() % 8;
      if (choice == 0 && open_.size() < 5) {
        open_.push_back(std::make_unique<OpenScope>(session_->scope(kinds()[shared_() % 3])));
      } else if (choice == 1 && !open_.empty()) {
        open_.pop_back();
      } else if (choice <= 3 && !open_.empty()) {
        allocate(*open_[shared_() % open_.size()]);
      } else if (choice == 4 && !open_.empty()) {
        release(*open_[shared_() % open_.size()]);
      } else if (!open_.empty()) {
        call(*open_[shared_() % open_.size()]);
      }
    }
    open_.clear();
  }

  std::uint64_t calls() const { return calls_; }

 private:
  struct OpenScope {
    explicit OpenScope(Scope opened) : scope(std::move(opened)) {}
    Scope scope;
    std::vector<Buffer> blocks;
  };

  static std::array<GroupKind, 3> kinds() {
    return {GroupKind::tp, GroupKind::attn_cp, GroupKind::attn};
  }

  void allocate(OpenScope& open) {
    const std::size_t elements = 1 + shared_() % kElementsMax;
    linger();
    const Buffer block = open.scope.allocate(DType::f32, elements, 1);
    std::fill_n(block.as<float>(), elements, -77.0F);
    open.blocks.push_back(block);
  }

  void release(OpenScope& open) {
    if (open.blocks.empty()) return;
    const auto index = static_cast<std::ptrdiff_t>(shared_() % open.blocks.size());
    open.scope.release(open.blocks[static_cast<std::size_t>(index)]);
    open.blocks.erase(open.blocks.begin() + index);
  }

  /// On a new block: what peers may still be reading must not be written before it is released.
  void call(OpenScope& open) {
    allocate(open);
    const Buffer block = open.blocks.back();
    const Group group = session_->group(open.scope.group());
    const std::size_t elements = shared_() % (block.rows_max() + 1);
    const std::uint64_t seed = shared_();
    const Tensor operand = block.elements(elements);
    contract::fill(operand.data, seed, rank_, 0, elements, DType::f32);
    linger();
    static_cast<void>(group.all_reduce(operand, ReduceOp::sum));
    linger();
    for (std::size_t i = 0; i < elements; ++i) {
      if (contract::bits_at(operand.data, i, DType::f32) !=
          contract::reduced_bits(seed, group.ranks(), i, DType::f32, ReduceOp::sum)) {
        throw Error(ErrorCode::mismatch, "wrong element " + std::to_string(i) + " on rank " +
                                             std::to_string(rank_.index()));
      }
    }
    ++calls_;
  }

  /// Differs from rank to rank, so that every rank is at times the late one.
  void linger() {
    const std::uint64_t choice = own_() % 12;
    if (choice == 0) std::this_thread::sleep_for(std::chrono::microseconds(own_() % 300));
    if (choice <= 3) std::this_thread::yield();
  }

  Session* session_;
  WorldRank rank_;
  std::mt19937_64 shared_;  // the same on every rank
  std::mt19937_64 own_;
  std::vector<std::unique_ptr<OpenScope>> open_;
  std::uint64_t calls_ = 0;
};

Plan plan_of(const Layout& layout, std::size_t pool_bytes) {
  Plan plan(layout);
  static_cast<void>(
      plan.pool("shared", {.groups = {GroupKind::tp, GroupKind::attn_cp, GroupKind::attn},
                           .bytes = pool_bytes,
                           .block_bytes_max = kElementsMax * 4}));
  return plan;
}

TEST(ScopeSteps, RandomProgramsOverOverlappingGroups) {
  for (const LayoutSizes& sizes :
       std::vector<LayoutSizes>{{.tp = 4, .attn_dp = 2, .attn_cp = 2}, {.tp = 6, .attn_cp = 3}}) {
    const Layout layout(sizes);
    // One pool that is always large enough, and one that often is not.
    for (const std::size_t pool_bytes : {std::size_t{4} << 20U, std::size_t{64} << 10U}) {
      const auto results =
          test::run_ranks(test::RankMode::threads, layout.world_size(), [&](World& world) {
            Session session = commit(world, plan_of(layout, pool_bytes));
            Program program(session, world.rank(), 99 + pool_bytes);
            program.run(800);
            session.verify();
            EXPECT_GT(program.calls(), 100U);
            EXPECT_EQ(session.pool_use(PoolId{0}).live_bytes, 0U);
            EXPECT_EQ(session.pool_use(PoolId{0}).over_budget_blocks == 0,
                      pool_bytes > (std::size_t{1} << 20U));
            EXPECT_EQ(session.registrations_since_commit(), 0U);
            session.close();
            return std::string("done");
          });
      test::expect_no_errors(results);
    }
  }
}

std::size_t open_descriptors() {
  std::size_t count = 0;
  DIR* directory = ::opendir("/proc/self/fd");
  while (::readdir(directory) != nullptr) ++count;
  ::closedir(directory);
  return count;
}

std::size_t resident_pages() {
  std::size_t size = 0;
  std::size_t resident = 0;
  std::ifstream("/proc/self/statm") >> size >> resident;
  return resident;
}

/// What the process holds, all ranks together.
struct Held {
  std::size_t descriptors = 0;
  std::size_t pages = 0;
};

/// Looked at by one rank while the others wait: looking takes a descriptor, too. Nothing elsewhere.
Held held_by_all(Session& session, WorldRank rank) {
  Held held;
  session.verify();
  if (rank == WorldRank{0}) held = {open_descriptors(), resident_pages()};
  session.verify();
  return held;
}

/// Scopes of one to four blocks of up to 32 KB, two of them nested, with a call now and then.
void run_scopes(Session& session, WorldRank rank, std::mt19937_64& shared, int scopes) {
  for (int i = 0; i < scopes; ++i) {
    const bool wide = shared() % 2 == 0;
    Scope scope = session.scope(wide ? GroupKind::tp : GroupKind::attn_cp);
    const Buffer first = scope.allocate(DType::f32, 1 + shared() % kElementsMax, 1);
    if (shared() % 2 == 0) scope.release(scope.allocate(DType::f32, shared() % 100, 3));
    if (shared() % 4 == 0) {
      Scope inner = session.scope(GroupKind::attn);
      static_cast<void>(inner.allocate(DType::bf16, shared() % 1'000, 7));
    }
    if (i % 64 != 0) continue;
    const std::size_t elements = std::min<std::size_t>(first.rows_max(), shared() % 3'000);
    std::fill_n(first.as<float>(), elements, static_cast<float>(rank.index()));
    static_cast<void>(
        session.group(scope.group()).all_reduce(first.elements(elements), ReduceOp::sum));
  }
}

// Each scope is an opening, an end, and on average 4 steps of blocks.
TEST(ScopeSteps, AMillionStepsLeaveNothingBehind) {
  constexpr int kRounds = 20;
  constexpr int kScopesPerRound = 10'000;
  const Layout layout({.tp = 2, .attn_cp = 2});
  const auto results = test::run_ranks(test::RankMode::threads, 2, [&](World& world) {
    Session session = commit(world, plan_of(layout, std::size_t{256} << 10U));
    std::mt19937_64 shared(12);
    Held early;
    for (int round = 0; round < kRounds; ++round) {
      run_scopes(session, world.rank(), shared, kScopesPerRound);
      if (round % 5 == 0) session.verify();
      if (round == 2) early = held_by_all(session, world.rank());
    }
    const Held late = held_by_all(session, world.rank());
    EXPECT_EQ(late.descriptors, early.descriptors);
    EXPECT_LE(late.pages, early.pages + 256) << "more than 1 MiB has been added";
    EXPECT_EQ(session.registrations_since_commit(), 0U);
    EXPECT_EQ(session.pool_use(PoolId{0}).over_budget_blocks, 0U);
    EXPECT_EQ(session.pool_use(PoolId{0}).live_blocks, 0U);
    session.close();
    return std::string("done");
  });
  test::expect_no_errors(results);
}

}  // namespace
}  // namespace cohort
