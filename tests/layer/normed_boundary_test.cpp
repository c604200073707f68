// Boundaries with residual and norm behind them: the bits of the two one after the other, whether
// or not one kernel does both.

#include <random>
#include <string>

#include <gtest/gtest.h>

#include <cohort/cohort.hpp>

#include "base/bf16.hpp"
#include "layer/layouts.hpp"
#include "support/over_fake.hpp"
#include "support/ranks.hpp"

namespace cohort {
namespace {

using test::name_of;
using test::RankMode;
using Bits = std::vector<std::uint16_t>;

constexpr std::size_t kHidden = 64;

Bits random_bits(std::size_t elements, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  Bits bits(elements);
  for (std::uint16_t& element : bits) element = bf16_from_f32(normal(random));
  return bits;
}

Tensor tensor(Bits& bits) {
  return {bits.data(), bits.size(), DType::bf16};
}

/// Residual and result of a norm on one rank.
struct Normed {
  explicit Normed(std::size_t rows)
      : residual(random_bits(rows * kHidden, 5)), normed(rows * kHidden, 0xFFFF) {}
  RmsNorm norm(Bits& weight) { return {tensor(residual), tensor(weight), tensor(normed), 1e-5F}; }
  Bits residual;
  Bits normed;
  friend bool operator==(const Normed&, const Normed&) = default;
};

/// One rank of a session that runs each boundary both ways.
class Rank {
 public:
  Rank(World& world, const Layout& layout, const PlanOptions& options)
      : layout_(layout),
        rank_(world.rank()),
        plan_(layout, options),
        slots_(plan_layers(plan_, {.dtype = DType::bf16,
                                   .hidden_elements = kHidden,
                                   .kv_elements = 1,
                                   .attention_rows_max = 40,
                                   .replica_rows_max = 40,
                                   .batch_rows_max = 80,
                                   .last_rows_max = 1})),
        session_(commit(world, plan_)),
        layers_(session_, slots_, world.rank()) {}

  void run(const BatchRows& rows) {
    const std::vector<std::size_t> none(layout_.sizes().attn_dp, 0);
    layers_.begin_step(rows, BatchRows::by_replica(layout_, none));
    const std::size_t own = rows.range(layout_, rows.attention(), rank_).count;
    compare(
        own, [&] { return layers_.attention_output(); },
        [&] { return layers_.complete_attention_output(); },
        [&](const RmsNorm& norm) { layers_.complete_attention_output(norm); });
    compare(
        own, [&] { return layers_.mlp_output(); }, [&] { return layers_.complete_mlp_output(); },
        [&](const RmsNorm& norm) { layers_.complete_mlp_output(norm); });
  }

  Session& session() { return session_; }

 private:
  template <typename Begin, typename Complete, typename CompleteNormed>
  void compare(std::size_t rows, const Begin& begin, const Complete& complete,
               const CompleteNormed& complete_normed) {
    Normed apart(rows);
    Normed together(rows);
    begin_with_values(begin());
    session_.rms_norm(complete(), apart.norm(weight_));
    begin_with_values(begin());
    complete_normed(together.norm(weight_));
    if (plan_.options().memory == Memory::cuda) session_.wait({});
    EXPECT_EQ(together, apart);
    EXPECT_EQ(apart.normed == Normed(rows).normed, rows == 0);
  }

  void begin_with_values(const Tensor& rows) {
    const Bits values = random_bits(rows.elements, rank_.index() + 1);
    std::copy(values.begin(), values.end(), static_cast<std::uint16_t*>(rows.data));
  }

  Layout layout_;
  WorldRank rank_;
  Plan plan_;
  LayerSlots slots_;
  Session session_;
  LayerCommunicator layers_;
  Bits weight_ = random_bits(kHidden, 3);
};

class NormedBoundary : public testing::TestWithParam<Memory> {};

TEST_P(NormedBoundary, HasTheBitsOfTheTwoApart) {
  for (const LayoutSizes& sizes : std::vector<LayoutSizes>{{},
                                                           {.tp = 2},
                                                           {.tp = 3},
                                                           {.tp = 2, .attn_dp = 2},
                                                           {.tp = 4, .attn_dp = 2},
                                                           {.tp = 4, .attn_dp = 2, .attn_cp = 2},
                                                           {.tp = 8, .attn_dp = 2}}) {
    const Layout layout(sizes);
    SCOPED_TRACE(name_of(layout));
    const auto results = test::run_ranks(RankMode::threads, sizes.tp, [&](World& world) {
      Rank rank(world, layout, {.strict = true, .memory = GetParam()});
      for (const std::size_t first : {0U, 1U, 7U, 40U}) {
        std::vector<std::size_t> counts(sizes.attn_dp, 5);
        counts[0] = first;
        rank.run(BatchRows::by_replica(layout, counts));
      }
      rank.session().close();
      return std::string();
    });
    test::expect_no_errors(results);
  }
}

TEST_P(NormedBoundary, IsRefusedOnAllRanksAlike) {
  const auto results = test::run_ranks(RankMode::threads, 2, [&](World& world) {
    Plan plan(Layout({.tp = 2}), {.memory = GetParam()});
    const SlotId slot = plan.slot("x", {.groups = {GroupKind::tp},
                                        .dtype = DType::bf16,
                                        .rows_max = 2,
                                        .row_elements = kHidden,
                                        .depth = 4});
    Session session = commit(world, plan);
    const Group tp = session.group(GroupKind::tp);
    Bits weight = random_bits(kHidden, 3);
    const auto refusal = [&](Normed& operands, RmsNorm norm) {
      static_cast<void>(operands);
      try {
        static_cast<void>(tp.all_reduce_rms_norm(session.take(slot).rows(0, 2), norm));
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::usage);
        return std::string(error.what());
      }
      return std::string();
    };
    Normed operands(2);
    Normed few(1);
    EXPECT_NE(refusal(few, few.norm(weight)).find("64 and 64 elements for 128"), std::string::npos);
    RmsNorm narrow = operands.norm(weight);
    narrow.weight.elements = 48;
    EXPECT_NE(refusal(operands, narrow).find("no whole rows of 48"), std::string::npos);
    EXPECT_EQ(refusal(operands, operands.norm(weight)), "");
    session.close();
    return std::string();
  });
  test::expect_no_errors(results);
}

INSTANTIATE_TEST_SUITE_P(Memories, NormedBoundary, testing::Values(Memory::host, Memory::cuda),
                         [](const auto& of) { return std::string(to_string(of.param)); });

}  // namespace
}  // namespace cohort
