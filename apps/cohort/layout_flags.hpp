#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <cohort/layout.hpp>

namespace CLI {
class App;
}

namespace cohort {

/// The layout flags of one command line, as given; a flag left out is empty.
struct LayoutFlags {
  std::optional<std::uint32_t> tp;
  std::optional<std::uint32_t> attn_dp;
  std::optional<std::uint32_t> attn_cp;
  std::optional<std::uint32_t> ep;
  std::optional<std::uint32_t> moe_dp;
  std::optional<std::uint32_t> pp;
  std::optional<std::uint32_t> dcp;
  std::optional<std::uint32_t> ranks_per_host;
  std::optional<std::uint32_t> dp_size;  ///< SGLang's spelling of attn_dp, see `sizes`
  bool enable_dp_attention = false;

  /// The sizes these flags state, 1 for those left out. Local.
  /// Throws: Error{usage} if --dp-size stands without --enable-dp-attention or contradicts
  /// --attn-dp.
  LayoutSizes sizes() const;
};

/// Adds `--tp --attn-dp --attn-cp --ep --moe-dp --pp --dcp --ranks-per-host` and SGLang's spellings
/// of them to a command. `flags` is filled when the command is parsed and must outlive that. A
/// value that is not a whole number in range is a parse error of one line. Local.
void add_layout_flags(CLI::App& command, LayoutFlags& flags);

/// Adds `--from`, the command of another engine. Local.
void add_from_flag(CLI::App& command, std::optional<std::string>& from);

}  // namespace cohort
