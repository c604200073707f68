#include <array>

#include <cohort/error.hpp>

#include "pasted_command.hpp"

namespace cohort {

namespace {

using Count = std::optional<std::uint32_t>;

/// Each size of a layout with its flag.
struct Size {
  const char* flag;
  Count LayoutFlags::*member;
};

constexpr std::array kSizes{
    Size{"--tp", &LayoutFlags::tp},
    Size{"--attn-dp", &LayoutFlags::attn_dp},
    Size{"--attn-cp", &LayoutFlags::attn_cp},
    Size{"--ep", &LayoutFlags::ep},
    Size{"--moe-dp", &LayoutFlags::moe_dp},
    Size{"--pp", &LayoutFlags::pp},
    Size{"--dcp", &LayoutFlags::dcp},
    Size{"--ranks-per-host", &LayoutFlags::ranks_per_host},
};

/// What of the pasted command says this size: "--tensor-parallel-size 8 (here --tp 16)".
std::string origin_of(const PastedCommand& pasted, const std::string& own) {
  for (const PastedCommand::Flag& flag : pasted.flags) {
    if (flag.own == own) return flag.text + (flag.text == own ? "" : " (here " + own + ")");
  }
  return own;
}

}  // namespace

LayoutSizes sizes_of(const LayoutFlags& flags, std::optional<PastedCommand>& pasted) {
  if (!pasted) return flags.sizes();
  LayoutFlags merged = flags;
  if (flags.enable_dp_attention && flags.dp_size) {
    merged.attn_dp = flags.sizes().attn_dp;
    merged.dp_size.reset();
  }
  for (const Size& size : kSizes) {
    const Count& theirs = pasted->layout.*size.member;
    if (!theirs) continue;
    Count& own = merged.*size.member;
    const std::string flag = std::string(size.flag) + " ";
    if (own && *own != *theirs) {
      pasted->notes.push_back(flag + std::to_string(*own) + " is given besides and counts, not " +
                              origin_of(*pasted, flag + std::to_string(*theirs)));
    }
    if (!own) own = theirs;
  }
  return merged.sizes();
}

Layout layout_of(const LayoutFlags& flags, std::optional<PastedCommand>& pasted) {
  const LayoutSizes sizes = sizes_of(flags, pasted);
  try {
    return Layout(sizes);
  } catch (const Error& error) {
    if (!pasted) throw;
    std::string read;
    for (const PastedCommand::Flag& flag : pasted->flags) {
      read += (read.empty() ? "" : ", ") + flag.text;
    }
    throw Error(error.code(),
                std::string(error.what()) + " (" + pasted->engine + "'s command says " +
                    (read.empty() ? "nothing of sizes" : read) + ")",
                error.rank(), error.phase());
  }
}

}  // namespace cohort
