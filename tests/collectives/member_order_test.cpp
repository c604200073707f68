#include "collectives/member_order.hpp"

#include <algorithm>
#include <map>
#include <random>
#include <set>

#include <gtest/gtest.h>

namespace cohort::collectives {
namespace {

using Nodes = std::vector<std::uint32_t>;

/// Every map of up to 9 members to 2 and of up to 6 to 3 nodes, every cut of 1 to 16 members into
/// blocks of equal size and round robin, and maps drawn at random.
template <typename Body>
void for_many_maps(const Body& body) {
  for (const auto& [node_count, size_max] : {std::pair{2U, 9U}, std::pair{3U, 6U}}) {
    for (std::uint32_t size = 1; size <= size_max; ++size) {
      Nodes nodes(size);
      while (true) {
        body(nodes);
        std::size_t at = 0;
        while (at < size && ++nodes[at] == node_count) nodes[at++] = 0;
        if (at == size) break;
      }
    }
  }
  std::mt19937 random(3);
  for (std::uint32_t size = 1; size <= 16; ++size) {
    for (std::uint32_t count = 1; count <= size; ++count) {
      Nodes blocks(size);
      Nodes robin(size);
      Nodes drawn(size);
      for (std::uint32_t m = 0; m < size; ++m) {
        blocks[m] = m * count / size * 7;  // numbers need not be dense
        robin[m] = count - m % count;
        drawn[m] = static_cast<std::uint32_t>(random() % count);
      }
      for (const Nodes& nodes : {blocks, robin, drawn}) body(nodes);
    }
  }
}

TEST(PullOrder, ReadsEveryOtherMemberOnceAndItsOwnNodeFirst) {
  for_many_maps([](const Nodes& nodes) {
    for (std::uint32_t self = 0; self < nodes.size(); ++self) {
      const auto order = pull_order(nodes, self);
      ASSERT_EQ(order.size(), nodes.size() - 1);
      const std::set<std::uint32_t> members(order.begin(), order.end());
      ASSERT_EQ(members.size(), order.size());
      ASSERT_EQ(members.count(self), 0U);
      std::set<std::uint32_t> left;  // a node that was left is not come back to
      std::uint32_t current = nodes[self];
      for (const std::uint32_t member : order) {
        ASSERT_LT(member, nodes.size());
        if (nodes[member] == current) continue;
        ASSERT_TRUE(left.insert(current).second);
        ASSERT_EQ(left.count(nodes[member]), 0U);
        current = nodes[member];
      }
    }
  });
}

TEST(PullOrder, OnOneNodeEverybodyStartsBehindItself) {
  for (std::uint32_t size = 1; size <= 16; ++size) {
    const Nodes nodes(size, 5);
    for (std::uint32_t self = 0; self < size; ++self) {
      const auto order = pull_order(nodes, self);
      for (std::uint32_t step = 1; step < size; ++step) {
        ASSERT_EQ(order[step - 1], (self + step) % size);
      }
    }
  }
}

TEST(PullOrder, NoMemberIsReadTwiceAtOnceWhileNodesAreEquallyLarge) {
  for_many_maps([](const Nodes& nodes) {
    std::map<std::uint32_t, std::size_t> sizes;
    for (const std::uint32_t node : nodes) ++sizes[node];
    for (const auto& [node, size] : sizes) {
      if (size != sizes.begin()->second) return;
    }
    std::vector<std::vector<std::uint32_t>> orders;
    for (std::uint32_t self = 0; self < nodes.size(); ++self) {
      orders.push_back(pull_order(nodes, self));
    }
    for (std::size_t step = 0; step + 1 < nodes.size(); ++step) {
      std::set<std::uint32_t> read;
      for (const auto& order : orders) ASSERT_TRUE(read.insert(order[step]).second);
    }
  });
}

TEST(BroadcastParents, CrossIntoEachNodeOnceAndReachEverybody) {
  for_many_maps([](const Nodes& nodes) {
    const std::set<std::uint32_t> numbers(nodes.begin(), nodes.end());
    for (std::uint32_t root = 0; root < nodes.size(); ++root) {
      const auto parents = broadcast_parents(nodes, root);
      if (numbers.size() == 1) {
        ASSERT_TRUE(parents.empty());
        continue;
      }
      ASSERT_EQ(parents.size(), nodes.size());
      ASSERT_EQ(parents[root], root);
      std::size_t crossings = 0;
      std::vector<std::size_t> readers(nodes.size());
      for (std::uint32_t member = 0; member < nodes.size(); ++member) {
        if (member == root) continue;
        const bool crosses = nodes[parents[member]] != nodes[member];
        crossings += crosses ? 1 : 0;
        if (crosses) ++readers[parents[member]];
        // Up to the root, by at most one step within the node and a binary tree of nodes.
        std::size_t steps = 0;
        for (std::uint32_t at = member; at != root; at = parents[at]) ASSERT_LE(++steps, 6U);
      }
      ASSERT_EQ(crossings, numbers.size() - 1);
      ASSERT_LE(*std::max_element(readers.begin(), readers.end()), 2U);
    }
  });
}

}  // namespace
}  // namespace cohort::collectives
