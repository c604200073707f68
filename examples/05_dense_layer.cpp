// One decoder layer over four ranks: two replicas of attention with sequences of their own, heads
// shared in pairs, an MLP shared by all four. The replicas' batches differ in length; the rows need
// no padding. Arithmetic stands in for the matrix products, so that every sum can be checked.

#include <cstdlib>
#include <iostream>

#include <cohort/cohort.hpp>

using namespace cohort;

namespace {

constexpr std::size_t kHidden = 8;

/// Rows of one rank, in ordinary memory: the residual stream.
using Rows = std::vector<float>;

// Where the model's weights would be: a rank's share of the heads, or of the MLP's columns, yields
// an addend of the result; only the sum over the ranks that share is right.
void add_share(ConstTensor input, Tensor output, std::uint32_t share) {
  const auto* const from = static_cast<const float*>(input.data);
  auto* const to = static_cast<float*>(output.data);
  for (std::size_t i = 0; i < output.elements; ++i) {
    to[i] = from[i] * static_cast<float>(share + 1);
  }
}

void add_residual(Rows& residual, ConstTensor rows) {
  const auto* const from = static_cast<const float*>(rows.data);
  for (std::size_t i = 0; i < residual.size(); ++i) residual[i] += from[i];
}

void run_layer(LayerCommunicator& layer, const Layout& layout, WorldRank rank, Rows& residual) {
  const ConstTensor mine{residual.data(), residual.size(), DType::f32};
  // This rank's heads for the rows of its replica; completed over attn_tp.
  add_share(mine, layer.attention_output(), layout.attn_tp_rank(rank));
  add_residual(residual, layer.complete_attention_output());

  // The MLP needs the rows of all replicas: gathered over tp, each row from one rank.
  const Tensor input = layer.mlp_input();
  std::copy(residual.begin(), residual.end(), static_cast<float*>(input.data));
  const ConstTensor batch = layer.gather_mlp_input();
  // This rank's columns for all rows; summed over tp, and this replica's rows come back.
  add_share(batch, layer.mlp_output(), rank.index());
  add_residual(residual, layer.complete_mlp_output());
}

bool run_rank(const Layout& layout, const Plan& plan, const LayerSlots& slots,
              const BatchRows& rows, std::unique_ptr<Bootstrap> bootstrap) {
  World world = World::join(std::move(bootstrap));
  Session session = commit(world, plan);
  LayerCommunicator layer(session, slots, world.rank());
  layer.begin_step(rows, rows);  // the same for every layer of the step

  // Row i of the batch begins as i + 1 in all its elements.
  const RowRange mine = rows.range(layout, rows.attention(), world.rank());
  Rows residual;
  for (std::size_t row = mine.first; row < mine.end(); ++row) {
    residual.insert(residual.end(), kHidden, static_cast<float>(row + 1));
  }
  run_layer(layer, layout, world.rank(), residual);

  // Attention adds (1 + 2) times the row, the MLP (1 + 2 + 3 + 4) times what it then is.
  bool right = true;
  for (std::size_t i = 0; i < residual.size(); ++i) {
    const std::size_t row = mine.first + i / kHidden;
    right = right && residual[i] == 44 * static_cast<float>(row + 1);
  }
  if (world.rank() == WorldRank{0}) {
    for (const LedgerRow& row : session.ledger()) {
      std::cout << to_string(row.group) << ' ' << to_string(row.op) << ": " << row.calls << " by "
                << to_string(row.path) << ", " << row.bytes << " bytes\n";
    }
  }
  session.close();
  return right;
}

}  // namespace

int main() {
  const Layout layout({.tp = 4, .attn_dp = 2});
  // Three rows for the first replica and five for the second, as known to every rank.
  const BatchRows rows = BatchRows::by_replica(layout, std::vector<std::size_t>{3, 5});
  Plan plan(layout);
  const LayerSlots slots = plan_layers(plan, {.hidden_elements = kHidden,
                                              .kv_elements = kHidden,
                                              .attention_rows_max = 16,
                                              .replica_rows_max = 16,
                                              .batch_rows_max = 32,
                                              .last_rows_max = 32});
  std::vector<char> right(layout.world_size());
  run_ranks_as_threads(layout.world_size(), [&](std::unique_ptr<Bootstrap> bootstrap) {
    const std::uint32_t rank = bootstrap->rank().index();
    right[rank] = run_rank(layout, plan, slots, rows, std::move(bootstrap));
  });
  for (const char of_rank : right) {
    if (!of_rank) return EXIT_FAILURE;
  }
  std::cout << rows.total() << " rows are right on all ranks\n";
}
