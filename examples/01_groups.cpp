// Which ranks work together: a layout is arithmetic, nothing runs and nothing is allocated.

#include <iostream>

#include <cohort/cohort.hpp>

using namespace cohort;

namespace {

void print_groups_of(const Layout& layout, WorldRank rank) {
  std::cout << "rank " << rank.index() << " of " << layout.world_size() << ": replica "
            << layout.attn_dp_rank(rank) << ", chunk " << layout.attn_cp_rank(rank)
            << ", share of the heads " << layout.attn_tp_rank(rank) << '\n';
  for (const GroupKind kind : all_group_kinds()) {
    std::cout << "  " << to_string(kind) << " with";
    for (const WorldRank peer : layout.group_of(kind, rank)) std::cout << ' ' << peer.index();
    std::cout << '\n';
  }
}

}  // namespace

int main() {
  // Eight ranks: attention keeps two replicas of whole sequences, each cut into two chunks of
  // tokens, whose heads are shared in pairs; the experts are spread over four ranks.
  const Layout layout({.tp = 8, .attn_dp = 2, .attn_cp = 2, .ep = 4});
  print_groups_of(layout, WorldRank{5});

  try {
    const Layout impossible({.tp = 8, .attn_dp = 3});
  } catch (const Error& error) {
    std::cout << to_string(error.code()) << ": " << error.what() << '\n';
  }
}
