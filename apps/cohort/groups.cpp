#include "groups.hpp"

#include <memory>
#include <optional>
#include <ostream>
#include <string>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "layout_flags.hpp"
#include "pasted_command.hpp"
#include "pasted_output.hpp"
#include "topology/describe.hpp"

namespace cohort {

namespace {

struct GroupsOptions {
  LayoutFlags layout;
  std::optional<std::string> from;
  bool json = false;
};

constexpr const char* kFooter = R"(Every kind of group is printed, groups of one rank included:
  tp       one pipeline stage
  pp       one rank of each stage
  dcp      shares the KV cache of one decode
  host     ranks of one machine
  leaders  first rank of each host
  world    all ranks
  attn     attn_tp x attn_cp: one attention replica
  attn_tp  shares the heads of one sequence chunk
  attn_cp  shares the tokens of one replica's sequences
  moe_ep   shares the experts
  moe_tp   shares the inside of an expert
  moe_dp   replicas of the expert arrangement

Exit codes: 0; 2 for sizes that do not divide each other, naming both flags.

Examples:
  # Attention in 2 replicas of 2 context-parallel ranks each, the MLP over all:
  cohort groups --tp 4 --attn-dp 2 --attn-cp 2

  # A mixture of experts on two hosts, for a script:
  cohort groups --tp 8 --attn-dp 2 --attn-cp 2 --ep 4 --moe-dp 2 \
    --ranks-per-host 4 --json

  # The layout of a server that somebody runs:
  cohort groups --from 'sglang serve --tp 8 --dp-size 2 --enable-dp-attention')";

void print_groups(const GroupsOptions& options, std::ostream& output) {
  std::optional<PastedCommand> pasted;
  if (options.from) pasted = read_pasted_command(*options.from);
  const Layout layout = layout_of(options.layout, pasted);
  if (!options.json) {
    output << groups_as_text(layout);
    if (pasted) output << '\n' << pasted_as_text(*pasted);
    return;
  }
  auto document = nlohmann::ordered_json::parse(groups_as_json(layout));
  if (pasted) document["from"] = nlohmann::ordered_json::parse(pasted_as_json(*pasted));
  output << document.dump() << '\n';
}

}  // namespace

void add_groups_command(CLI::App& app, std::ostream& output) {
  const auto options = std::make_shared<GroupsOptions>();
  CLI::App* command = app.add_subcommand(
      "groups", "Print the groups of a layout: which ranks work together, and for what");
  add_layout_flags(*command, options->layout);
  add_from_flag(*command, options->from);
  command->add_flag("--json", options->json, "Print one JSON document instead of a table");
  command->footer(kFooter);
  command->callback([options, &output] { print_groups(*options, output); });
}

}  // namespace cohort
