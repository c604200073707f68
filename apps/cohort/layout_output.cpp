#include "layout_output.hpp"

#include <nlohmann/json.hpp>

namespace cohort {

nlohmann::ordered_json layout_json(const Layout& layout) {
  const LayoutSizes& sizes = layout.sizes();
  return {{"ranks", layout.world_size()},
          {"tp", sizes.tp},
          {"attn_dp", sizes.attn_dp},
          {"attn_cp", sizes.attn_cp},
          {"attn_tp", layout.attn_tp()}};
}

}  // namespace cohort
