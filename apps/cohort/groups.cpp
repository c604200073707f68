#include "groups.hpp"

#include <memory>
#include <ostream>

#include <CLI/CLI.hpp>

#include "layout_flags.hpp"
#include "topology/describe.hpp"

namespace cohort {

namespace {

struct GroupsOptions {
  LayoutFlags layout;
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
    --ranks-per-host 4 --json)";

}  // namespace

void add_groups_command(CLI::App& app, std::ostream& output) {
  const auto options = std::make_shared<GroupsOptions>();
  CLI::App* command = app.add_subcommand(
      "groups", "Print the groups of a layout: which ranks work together, and for what");
  add_layout_flags(*command, options->layout);
  command->add_flag("--json", options->json, "Print one JSON document instead of a table");
  command->footer(kFooter);
  command->callback([options, &output] {
    const Layout layout(options->layout.sizes());
    if (options->json) {
      output << groups_as_json(layout) << '\n';
    } else {
      output << groups_as_text(layout);
    }
  });
}

}  // namespace cohort
