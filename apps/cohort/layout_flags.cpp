#include "layout_flags.hpp"

#include <charconv>
#include <string>

#include <CLI/CLI.hpp>

#include <cohort/error.hpp>

namespace cohort {

namespace {

using Count = std::optional<std::uint32_t>;

/// Digits only: signs, spaces, fractions and octal or hexadecimal forms are refused, not guessed.
Count parsed_count(const std::string& text) {
  std::uint32_t value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc{} || stop != end || value == 0 || value > kWorldSizeMax) {
    return std::nullopt;
  }
  return value;
}

void add_count(CLI::App& command, const std::string& names, Count& target,
               const std::string& description) {
  const std::string flag = names.substr(0, names.find(','));
  const auto store = [flag, &target](const std::string& text) {
    target = parsed_count(text);
    if (!target) {
      throw CLI::ValidationError(
          flag, "'" + text + "' is not a whole number from 1 to " + std::to_string(kWorldSizeMax));
    }
  };
  command.add_option_function<std::string>(names, store, description)
      ->type_name("N")
      ->group("Layout");
}

}  // namespace

LayoutSizes LayoutFlags::sizes() const {
  LayoutSizes sizes;
  sizes.tp = tp.value_or(1);
  sizes.attn_dp = attn_dp.value_or(1);
  sizes.attn_cp = attn_cp.value_or(1);
  sizes.ep = ep.value_or(1);
  sizes.moe_dp = moe_dp.value_or(1);
  sizes.pp = pp.value_or(1);
  sizes.dcp = dcp.value_or(1);
  sizes.ranks_per_host = ranks_per_host.value_or(0);
  const std::uint32_t dp = dp_size.value_or(1);
  if (dp > 1 && !enable_dp_attention) {
    throw Error(ErrorCode::usage,
                "--dp-size " + std::to_string(dp) +
                    " needs --enable-dp-attention: without it the replicas are separate servers, "
                    "not ranks of one layout (--attn-dp " +
                    std::to_string(dp) + " says both at once)",
                std::nullopt, "layout");
  }
  if (enable_dp_attention && dp_size) {
    if (attn_dp.value_or(dp) != dp) {
      throw Error(ErrorCode::usage,
                  "--attn-dp " + std::to_string(*attn_dp) + " contradicts --dp-size " +
                      std::to_string(dp) + " --enable-dp-attention: give one of them",
                  std::nullopt, "layout");
    }
    sizes.attn_dp = dp;
  }
  return sizes;
}

void add_layout_flags(CLI::App& command, LayoutFlags& flags) {
  add_count(command, "--tp,--tp-size,--tensor-parallel-size", flags.tp,
            "Ranks of one pipeline stage: tensor-parallel width of the MLP (default 1)");
  add_count(command, "--attn-dp,--attn-dp-size", flags.attn_dp,
            "Attention data parallel: replicas of the attention, each with its own requests; "
            "divides --tp (default 1)");
  add_count(command, "--attn-cp,--attn-cp-size,--attention-context-parallel-size", flags.attn_cp,
            "Attention context parallel: ranks that share the tokens of one prefill; "
            "--attn-dp x --attn-cp divides --tp (default 1)");
  add_count(command, "--ep,--ep-size,--expert-parallel-size", flags.ep,
            "Expert parallel: ranks that share the experts of one MoE layer; divides --tp "
            "(default 1)");
  add_count(command, "--moe-dp,--moe-dp-size,--moe-data-parallel-size", flags.moe_dp,
            "Replicas of the expert arrangement; --ep x --moe-dp divides --tp (default 1)");
  add_count(command, "--pp,--pp-size,--pipeline-parallel-size", flags.pp,
            "Pipeline stages; world = tp x pp (default 1)");
  add_count(command, "--dcp,--dcp-size,--decode-context-parallel-size", flags.dcp,
            "Decode context parallel: ranks that share the KV cache of one decode; divides --tp "
            "(default 1)");
  add_count(command, "--ranks-per-host", flags.ranks_per_host,
            "Consecutive ranks that share one host; divides the world (default: all)");
  add_count(command, "--dp-size,--data-parallel-size", flags.dp_size,
            "With --enable-dp-attention the same as --attn-dp (SGLang's spelling)");
  command
      .add_flag("--enable-dp-attention", flags.enable_dp_attention,
                "Read --dp-size as --attn-dp (SGLang's spelling)")
      ->group("Layout");
}

void add_from_flag(CLI::App& command, std::optional<std::string>& from) {
  command
      .add_option(
          "--from", from,
          "Read the layout from the command that starts a server of SGLang or vLLM; what it "
          "says besides is listed as ignored. Sizes given together with it count instead of its "
          "own, and a note says so")
      ->type_name("COMMAND")
      ->group("Layout");
}

}  // namespace cohort
