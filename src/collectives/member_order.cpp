#include "collectives/member_order.hpp"

#include <algorithm>

namespace cohort::collectives {
namespace {

/// The members of each node in group-rank order, beginning with the node of `first`; the nodes
/// follow each other cyclically by their number.
std::vector<std::vector<std::uint32_t>> members_by_node(std::span<const std::uint32_t> nodes,
                                                        std::uint32_t first) {
  std::vector<std::uint32_t> numbers(nodes.begin(), nodes.end());
  std::sort(numbers.begin(), numbers.end());
  numbers.erase(std::unique(numbers.begin(), numbers.end()), numbers.end());
  const auto own = std::find(numbers.begin(), numbers.end(), nodes[first]);
  std::rotate(numbers.begin(), own, numbers.end());
  std::vector<std::vector<std::uint32_t>> members(numbers.size());
  for (std::uint32_t member = 0; member < nodes.size(); ++member) {
    const auto node = std::find(numbers.begin(), numbers.end(), nodes[member]);
    members[static_cast<std::size_t>(node - numbers.begin())].push_back(member);
  }
  return members;
}

}  // namespace

std::vector<std::uint32_t> pull_order(std::span<const std::uint32_t> nodes, std::uint32_t self) {
  const auto by_node = members_by_node(nodes, self);
  const auto position = static_cast<std::size_t>(
      std::find(by_node[0].begin(), by_node[0].end(), self) - by_node[0].begin());
  std::vector<std::uint32_t> order;
  for (std::size_t i = 1; i < by_node[0].size(); ++i) {
    order.push_back(by_node[0][(position + i) % by_node[0].size()]);
  }
  for (std::size_t node = 1; node < by_node.size(); ++node) {
    for (std::size_t i = 0; i < by_node[node].size(); ++i) {
      order.push_back(by_node[node][(position + i) % by_node[node].size()]);
    }
  }
  return order;
}

std::vector<std::uint32_t> broadcast_parents(std::span<const std::uint32_t> nodes,
                                             std::uint32_t root) {
  const auto by_node = members_by_node(nodes, root);
  if (by_node.size() == 1) return {};
  std::vector<std::uint32_t> leaders = {root};
  for (std::size_t node = 1; node < by_node.size(); ++node) leaders.push_back(by_node[node][0]);
  std::vector<std::uint32_t> parents(nodes.size());
  for (std::size_t node = 0; node < by_node.size(); ++node) {
    for (const std::uint32_t member : by_node[node]) parents[member] = leaders[node];
    if (node > 0) parents[leaders[node]] = leaders[(node - 1) / 2];
  }
  return parents;
}

}  // namespace cohort::collectives
