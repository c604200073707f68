#include "topology/describe.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace cohort {
namespace {

using nlohmann::json;

TEST(Describe, JsonHoldsSizesAndEveryGroup) {
  const Layout layout({.tp = 8, .attn_dp = 2, .attn_cp = 2, .ep = 4, .moe_dp = 2, .dcp = 2});
  const json document = json::parse(groups_as_json(layout));
  const json expected = json::parse(R"({
    "schema": 1, "version": "0.1.0", "world": 8,
    "sizes": {"tp": 8, "attn_dp": 2, "attn_cp": 2, "attn_tp": 2, "ep": 4, "moe_dp": 2, "moe_tp": 1,
              "pp": 1, "dcp": 2, "ranks_per_host": 8},
    "groups": {
      "world": [[0,1,2,3,4,5,6,7]], "tp": [[0,1,2,3,4,5,6,7]],
      "pp": [[0],[1],[2],[3],[4],[5],[6],[7]],
      "attn_tp": [[0,1],[2,3],[4,5],[6,7]], "attn_cp": [[0,2],[1,3],[4,6],[5,7]],
      "attn": [[0,1,2,3],[4,5,6,7]],
      "moe_ep": [[0,1,2,3],[4,5,6,7]], "moe_tp": [[0],[1],[2],[3],[4],[5],[6],[7]],
      "moe_dp": [[0,4],[1,5],[2,6],[3,7]], "dcp": [[0,1],[2,3],[4,5],[6,7]],
      "host": [[0,1,2,3,4,5,6,7]], "leaders": [[0]]
    }})");
  EXPECT_EQ(document, expected) << document.dump(2);
}

TEST(Describe, JsonOfOneRankStillHoldsEveryKind) {
  const json document = json::parse(groups_as_json(Layout(LayoutSizes{})));
  EXPECT_EQ(document["groups"].size(), kGroupKindCount);
  for (const auto& [kind, lists] : document["groups"].items()) {
    EXPECT_EQ(lists, json::parse("[[0]]")) << kind;
  }
}

TEST(Describe, TextIsATableOfEveryKind) {
  const Layout layout({.tp = 4, .attn_dp = 2, .pp = 2, .ranks_per_host = 4});
  EXPECT_EQ(groups_as_text(layout),
            "world 8 = tp 4 x pp 2\n"
            "world 8 = hosts 2 x ranks_per_host 4\n"
            "tp 4 = attn_dp 2 x attn_cp 1 x attn_tp 2\n"
            "tp 4 = moe_dp 1 x ep 1 x moe_tp 4\n"
            "\n"
            "kind     ranks  groups  world ranks of each group\n"
            "world        8       1  [0,1,2,3,4,5,6,7]\n"
            "tp           4       2  [0,1,2,3] [4,5,6,7]\n"
            "pp           2       4  [0,4] [1,5] [2,6] [3,7]\n"
            "attn_tp      2       4  [0,1] [2,3] [4,5] [6,7]\n"
            "attn_cp      1       8  [0] [1] [2] [3] [4] [5] [6] [7]\n"
            "attn         2       4  [0,1] [2,3] [4,5] [6,7]\n"
            "moe_ep       1       8  [0] [1] [2] [3] [4] [5] [6] [7]\n"
            "moe_tp       4       2  [0,1,2,3] [4,5,6,7]\n"
            "moe_dp       1       8  [0] [1] [2] [3] [4] [5] [6] [7]\n"
            "dcp          1       8  [0] [1] [2] [3] [4] [5] [6] [7]\n"
            "host         4       2  [0,1,2,3] [4,5,6,7]\n"
            "leaders      2       1  [0,4]\n");
}

TEST(Describe, TextWrapsLongRowsAndAbbreviatesLongGroups) {
  const std::string text = groups_as_text(Layout({.tp = 64, .attn_dp = 2, .ep = 32}));
  EXPECT_NE(text.find("tp          64       1  [0..63]\n"), std::string::npos) << text;
  EXPECT_NE(text.find("moe_ep      32       2  [0..62 step 2] [1..63 step 2]\n"),
            std::string::npos);
  EXPECT_NE(text.find("dcp          1      64  each rank alone\n"), std::string::npos) << text;
  EXPECT_NE(text.find("\n                        ["), std::string::npos) << text;
  std::size_t begin = 0;
  for (std::size_t end; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1) {
    EXPECT_LE(end - begin, 80u) << text.substr(begin, end - begin);
  }
}

}  // namespace
}  // namespace cohort
