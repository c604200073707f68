#include "topology/describe.hpp"

#include <algorithm>
#include <vector>

#include <nlohmann/json.hpp>

#include <cohort/version.hpp>

namespace cohort {

namespace {

constexpr std::size_t kLineColumns = 80;
constexpr std::size_t kSpelledRanksMax = 16;

/// All ranks of a short list; of a long one first, last and, if it is not 1, "step" between them
/// (the ranks of every group are evenly spaced).
std::string brief_list(std::span<const WorldRank> ranks) {
  if (ranks.size() > kSpelledRanksMax) {
    const std::uint32_t step = ranks[1].index() - ranks[0].index();
    return std::to_string(ranks.front().index()) + ".." + std::to_string(ranks.back().index()) +
           (step == 1 ? "" : " step " + std::to_string(step));
  }
  std::string text;
  for (const WorldRank rank : ranks) {
    text += text.empty() ? "" : ",";
    text += std::to_string(rank.index());
  }
  return text;
}

std::string padded_left(const std::string& text, std::size_t columns) {
  return std::string(columns > text.size() ? columns - text.size() : 0, ' ') + text;
}

std::string padded_right(std::string_view text, std::size_t columns) {
  std::string result(text);
  result.resize(std::max(columns, result.size()), ' ');
  return result;
}

/// One row of the table; lists that do not fit continue below their column.
std::string table_row(const Layout& layout, GroupKind kind) {
  const auto groups = layout.groups(kind);
  std::string line = padded_right(to_string(kind), 8) +
                     padded_left(std::to_string(layout.group_size(kind)), 6) +
                     padded_left(std::to_string(groups.size()), 8) + " ";
  if (layout.group_size(kind) == 1 && groups.size() > kSpelledRanksMax) {
    return line + " each rank alone\n";
  }
  const std::size_t indent = line.size();
  std::string text;
  for (const auto& group : groups) {
    const std::string list = " [" + brief_list(group) + "]";
    if (line.size() > indent && line.size() + list.size() > kLineColumns) {
      text += line + "\n";
      line.assign(indent, ' ');
    }
    line += list;
  }
  return text + line + "\n";
}

struct NamedSize {
  std::string name;
  std::uint32_t value;
};

/// "tp 8 = attn_dp 2 x attn_cp 2 x attn_tp 2\n"
std::string product_line(const NamedSize& product, const std::vector<NamedSize>& factors) {
  std::string text = product.name + " " + std::to_string(product.value);
  for (const NamedSize& factor : factors) {
    text += (&factor == &factors.front() ? " = " : " x ") + factor.name + " " +
            std::to_string(factor.value);
  }
  return text + "\n";
}

}  // namespace

std::string groups_as_json(const Layout& layout) {
  const LayoutSizes& sizes = layout.sizes();
  nlohmann::ordered_json document;
  document["schema"] = 1;
  document["version"] = COHORT_VERSION;
  document["world"] = layout.world_size();
  document["sizes"] = {
      {"tp", sizes.tp},
      {"attn_dp", sizes.attn_dp},
      {"attn_cp", sizes.attn_cp},
      {"attn_tp", layout.attn_tp()},
      {"ep", sizes.ep},
      {"moe_dp", sizes.moe_dp},
      {"moe_tp", layout.moe_tp()},
      {"pp", sizes.pp},
      {"dcp", sizes.dcp},
      {"ranks_per_host", sizes.ranks_per_host},
  };
  auto& groups = document["groups"];
  for (const GroupKind kind : all_group_kinds()) {
    auto lists = nlohmann::ordered_json::array();
    for (const auto& group : layout.groups(kind)) {
      auto list = nlohmann::ordered_json::array();
      for (const WorldRank rank : group) {
        list.push_back(rank.index());
      }
      lists.push_back(std::move(list));
    }
    groups[std::string(to_string(kind))] = std::move(lists);
  }
  return document.dump();
}

std::string groups_as_text(const Layout& layout) {
  const LayoutSizes& sizes = layout.sizes();
  const std::uint32_t host_count = layout.group_size(GroupKind::leaders);
  const NamedSize world{"world", layout.world_size()};
  const NamedSize tp{"tp", sizes.tp};
  std::string text =
      product_line(world, {tp, {"pp", sizes.pp}}) +
      product_line(world, {{"hosts", host_count}, {"ranks_per_host", sizes.ranks_per_host}}) +
      product_line(
          tp,
          {{"attn_dp", sizes.attn_dp}, {"attn_cp", sizes.attn_cp}, {"attn_tp", layout.attn_tp()}}) +
      product_line(tp, {{"moe_dp", sizes.moe_dp}, {"ep", sizes.ep}, {"moe_tp", layout.moe_tp()}}) +
      "\n";
  text += padded_right("kind", 8) + padded_left("ranks", 6) + padded_left("groups", 8) +
          "  world ranks of each group\n";
  for (const GroupKind kind : all_group_kinds()) {
    text += table_row(layout, kind);
  }
  return text;
}

}  // namespace cohort
