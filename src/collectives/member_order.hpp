#pragma once

// In which order a group's members read from each other, given the memory node of each: pure.
//
// Reading across nodes is slower than within one, and the link between them is shared. So gathers
// begin with the members of their own node, and a broadcast crosses into each node once.

#include <cstdint>
#include <span>
#include <vector>

namespace cohort::collectives {

/// The order in which member `self` reads all others: its own node first, then the nodes that
/// follow it; within a node staggered, so that members do not all read the same one at once.
/// `nodes` holds the node of each member. While nodes hold equally many members, no two of them
/// read the same member at the same step.
std::vector<std::uint32_t> pull_order(std::span<const std::uint32_t> nodes, std::uint32_t self);

/// From whom each member reads in a broadcast: members from their node's leader, leaders from each
/// other in a binary tree, the root from itself. Empty if all are on one node, where everybody
/// reads from the root.
std::vector<std::uint32_t> broadcast_parents(std::span<const std::uint32_t> nodes,
                                             std::uint32_t root);

}  // namespace cohort::collectives
