// The golden reductions, once through every path: the same bits whichever way a call takes.

#include <algorithm>
#include <cstring>
#include <set>

#include <gtest/gtest.h>

#include <cohort/cohort.hpp>

#include "support/golden_reductions.hpp"
#include "support/ranks.hpp"

namespace cohort {
namespace {

using test::GoldenReduction;

constexpr std::size_t kBytesMax = 256 * 1024;
constexpr std::array kReduceOps = {ReduceOp::sum, ReduceOp::min, ReduceOp::max};

/// The case's operand of this rank, repeated to `elements`.
void fill_repeated(Tensor tensor, const std::vector<std::byte>& pattern) {
  auto* bytes = static_cast<std::byte*>(tensor.data);
  const std::size_t total = tensor.elements * bytes_of(tensor.dtype);
  for (std::size_t i = 0; i < total; i += pattern.size()) {
    std::memcpy(bytes + i, pattern.data(), std::min(pattern.size(), total - i));
  }
}

void expect_repeated(Tensor tensor, std::size_t first, const GoldenReduction& golden, ReduceOp op,
                     const std::string& what) {
  const std::vector<std::byte>& wanted = golden.result(op);
  const std::size_t width = bytes_of(tensor.dtype);
  for (std::size_t i = 0; i < tensor.elements; ++i) {
    const auto* actual = static_cast<const std::byte*>(tensor.data) + i * width;
    const std::byte* expected = wanted.data() + (first + i) % golden.elements * width;
    ASSERT_EQ(std::memcmp(actual, expected, width), 0)
        << what << ", " << golden.name() << ", " << to_string(op) << ", element " << i;
  }
}

class Checker {
 public:
  Checker(Session& session, WorldRank rank, std::set<Path>& paths)
      : session_(&session), group_(session.group(GroupKind::tp)), rank_(rank), paths_(&paths) {}

  void check(const GoldenReduction& golden, std::size_t repeats) {
    for (const ReduceOp op : kReduceOps) {
      const std::size_t elements = golden.elements * repeats;
      const SlotId slot{static_cast<std::uint32_t>(golden.dtype)};
      const auto& mine = golden.operands[rank_.index()];

      const Tensor both = session_->take(slot).elements(elements);
      fill_repeated(both, mine);
      note(group_.all_reduce(both, op));
      expect_repeated(both, 0, golden, op, "all_reduce");

      const std::uint32_t size = group_.size();
      const Tensor whole = session_->take(slot).elements(elements * size);
      fill_repeated(whole, mine);
      const Tensor own{
          static_cast<std::byte*>(whole.data) + elements * rank_.index() * bytes_of(golden.dtype),
          elements, golden.dtype};
      note(group_.reduce_scatter(whole, own, op));
      expect_repeated(own, elements * rank_.index(), golden, op, "reduce_scatter");
    }
  }

 private:
  void note(const Verdict& verdict) { paths_->insert(verdict.path); }

  Session* session_;
  Group group_;
  WorldRank rank_;
  std::set<Path>* paths_;
};

void check_world(std::uint32_t ranks, const PlanOptions& options,
                 const std::set<Path>& wanted_paths) {
  const auto results = test::run_ranks(test::RankMode::threads, ranks, [&](World& world) {
    Plan plan(Layout{{.tp = ranks}}, options);
    for (const DType dtype : all_dtypes()) {
      static_cast<void>(plan.slot(std::string(to_string(dtype)), {.groups = {GroupKind::tp},
                                                                  .dtype = dtype,
                                                                  .rows_max = kBytesMax,
                                                                  .row_elements = 1,
                                                                  .depth = 2}));
    }
    Session session = commit(world, plan);
    std::set<Path> paths;
    Checker checker(session, world.rank(), paths);
    for (const GoldenReduction& golden : test::golden_reductions()) {
      if (golden.operands.size() != ranks) continue;
      const std::size_t bytes = golden.elements * bytes_of(golden.dtype);
      checker.check(golden, 1);
      checker.check(golden, 16 * 1024 / bytes + 1);
    }
    EXPECT_EQ(paths, wanted_paths);
    session.close();
    return std::string("done");
  });
  test::expect_no_errors(results);
}

class GoldenPaths : public testing::TestWithParam<std::uint32_t> {};

TEST_P(GoldenPaths, AgreeBitForBit) {
  const std::uint32_t ranks = GetParam();
  if (ranks == 1) {
    check_world(1, {}, {Path::local});
    return;
  }
  check_world(ranks, {}, {Path::host_inline, Path::host_direct});
  check_world(ranks, {.symmetry = Symmetry::off}, {Path::host_staged});
}

TEST_P(GoldenPaths, AgreeBitForBitWhereverTheyArePinned) {
  const std::uint32_t ranks = GetParam();
  for (const Path path : {Path::host_inline, Path::host_direct, Path::host_staged}) {
    std::set<Path> wanted = {ranks == 1 ? Path::local : path};
    if (ranks > 1 && path == Path::host_inline) wanted.insert(Path::host_direct);
    check_world(ranks, {.path_table = PathTable::pinned(path)}, wanted);
  }
}

INSTANTIATE_TEST_SUITE_P(Operands, GoldenPaths, testing::Range(1U, 9U));

}  // namespace
}  // namespace cohort
