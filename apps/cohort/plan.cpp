#include "plan.hpp"

#include <memory>
#include <ostream>
#include <sstream>
#include <string>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <cohort/plan.hpp>
#include <cohort/version.hpp>

#include "base/wrapped.hpp"
#include "engine/plan_slots.hpp"
#include "generate_options.hpp"
#include "layout_output.hpp"
#include "model/gguf.hpp"
#include "model/model_config.hpp"
#include "pasted_command.hpp"
#include "pasted_output.hpp"
#include "report/plan_json.hpp"

namespace cohort {

namespace {

using Json = nlohmann::ordered_json;

struct PlanFlags {
  EngineFlags engine;
  std::optional<std::string> from;
  bool json = false;
};

constexpr const char* kFooter =
    R"(The same plan that 'cohort generate' commits with these flags: every buffer, its place in the
arena of a rank, and all bytes. No rank is started.

Exit codes: 0; 2 for flags or a model that cannot be used; 1 for all else.

Examples:
  # What one arena needs, and whether this machine has room for four of them:
  cohort plan --model SmolLM2.gguf --tp 4 --attn-dp 2 --attn-cp 2
  cohort check --ranks 4 --arena 16MiB

  # Longer steps, for a script:
  cohort plan --model SmolLM2.gguf --tp 4 --attn-dp 4 --max-step-tokens 2048 \
    --json

  # This model in the layout of a server that somebody runs:
  cohort plan --model SmolLM2.gguf --from 'vllm serve M --data-parallel-size 2')";

/// Lines as they are, but those too long for a terminal.
void print_fitting(std::istream& text, std::ostream& output) {
  for (std::string line; std::getline(text, line);) {
    if (line.size() <= kTextColumns) {
      output << line << '\n';
      continue;
    }
    for (const std::string& part : wrapped(line, kTextColumns)) output << part << '\n';
  }
}

void print_plan(const PlanFlags& flags, std::ostream& output) {
  const GgufFile file = GgufFile::open(flags.engine.model);
  const ModelConfig config = model_config_from(file);
  std::optional<PastedCommand> pasted;
  if (flags.from) pasted = read_pasted_command(*flags.from);
  const Layout layout = layout_of(flags.engine.layout, pasted);
  Plan plan(layout, flags.engine.plan_options());
  static_cast<void>(plan_slots(plan, config, flags.engine.spec(config)));
  const Footprint planned = footprint(plan);
  if (!flags.json) {
    std::stringstream text;
    text << planned;
    for (const std::string& line : plan.options().path_table.lines()) text << line << '\n';
    print_fitting(text, output);
    if (pasted) output << '\n' << pasted_as_text(*pasted);
    return;
  }
  Json document{{"schema", 1},
                {"version", COHORT_VERSION},
                {"layout", layout_json(layout)},
                {"paths", plan.options().path_table.lines()},
                {"slots", slots_json(plan)},
                {"pools", pools_json(plan)},
                {"footprint", footprint_json(planned, layout.world_size())}};
  if (pasted) document["from"] = Json::parse(pasted_as_json(*pasted));
  output << document.dump() << '\n';
}

}  // namespace

void add_plan_command(CLI::App& app, std::ostream& output) {
  const auto flags = std::make_shared<PlanFlags>();
  CLI::App* command = app.add_subcommand(
      "plan", "Print the slots, offsets and memory of a model's engine in a layout");
  add_engine_flags(*command, flags->engine);
  add_from_flag(*command, flags->from);
  command->add_flag("--json", flags->json, "Print one JSON document instead of a table");
  command->footer(kFooter);
  command->callback([flags, &output] { print_plan(*flags, output); });
}

}  // namespace cohort
