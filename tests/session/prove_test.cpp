// What commit proves of memory before it hands out a session: faults that are planted must show.

#include <cstddef>
#include <string>
#include <string_view>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cohort/cohort.hpp>

#include "base/test_point.hpp"
#include "session/session_state.hpp"
#include "support/ranks.hpp"

namespace cohort {
namespace {

using test::RankMode;
using testing::HasSubstr;

/// Changes one byte of a slot's entry while the entry is proven, as a neighbour would that overlaps
/// it.
class Overlapping final : public TestHooks {
 public:
  explicit Overlapping(std::byte* victim) : victim_(victim) { test_hooks() = this; }
  ~Overlapping() override { test_hooks() = nullptr; }
  void reach(std::string_view point) override {
    if (point == "call.done") *victim_ ^= std::byte{1};
  }

 private:
  std::byte* victim_;
};

/// Of a size that no word divides.
constexpr std::size_t kBytes = 100'003;

/// What the ranks throw if byte `at` of rank 1's entry changes under its hands; empty for nothing.
std::string proof_with(std::size_t at) {
  std::string text;
  const auto results = test::run_ranks(RankMode::threads, 2, [&](World& world) {
    Plan plan(Layout{{.tp = 2}}, {});
    static_cast<void>(plan.slot(
        "victim",
        {.groups = {GroupKind::tp}, .dtype = DType::u8, .rows_max = kBytes, .row_elements = 1}));
    host::Domain& domain = world.domain();
    SessionState session(domain, plan, 1);
    session.open_memory({});
    session.allocate();
    session.map_peers(domain.deadline_after(domain.limits().setup));
    if (world.rank().index() == 0) {
      session.prove_slots();
    } else {
      const Overlapping hooks(session.entry({0, 0}).as<std::byte>() + at);
      session.prove_slots();
    }
    return std::string();
  });
  for (const auto& result : results) {
    if (result.error) text = result.error->what();
  }
  return text;
}

#if defined(COHORT_ASSERTIONS)

TEST(Proof, FindsAByteThatChangesWhereverItIs) {
  for (const std::size_t at : {std::size_t{0}, kBytes / 2, kBytes - 1}) {
    EXPECT_THAT(proof_with(at), HasSubstr("slot 'victim' entry 0 does not show what rank 0 wrote"))
        << at;
  }
}

TEST(Proof, LeavesPaddingOut) {
  EXPECT_EQ(proof_with(kBytes), "");
}

#endif

}  // namespace
}  // namespace cohort
