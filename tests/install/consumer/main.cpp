#include <iostream>

#include <cohort/layout.hpp>
#include <cohort/version.hpp>

int main() {
  const cohort::Layout layout({.tp = 4, .attn_cp = 2});
  std::cout << "cohort " COHORT_VERSION ": rank 3 is in attn_cp [";
  const char* separator = "";
  for (const cohort::WorldRank rank :
       layout.group_of(cohort::GroupKind::attn_cp, cohort::WorldRank{3})) {
    std::cout << separator << rank.index();
    separator = ", ";
  }
  std::cout << "]\n";
}
