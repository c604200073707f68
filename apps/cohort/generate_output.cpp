#include "generate_output.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <ostream>

#include <nlohmann/json.hpp>

#include <cohort/version.hpp>

#include "base/bytes.hpp"
#include "base/wrapped.hpp"
#include "layout_output.hpp"
#include "output_file.hpp"
#include "report/job_document.hpp"
#include "report/job_ledger.hpp"
#include "report/page.hpp"

namespace cohort {

namespace {

using Json = nlohmann::ordered_json;

std::string format(const char* pattern, double value) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), pattern, value);
  return text.data();
}

std::string_view to_string(FinishReason reason) {
  switch (reason) {
    case FinishReason::stop: return "stop";
    case FinishReason::length: return "length";
    case FinishReason::context: return "context";
  }
  return "";
}

double tokens_per_second(const EngineTiming& timing) {
  return timing.decode_s > 0 ? static_cast<double>(timing.decode_tokens) / timing.decode_s : 0;
}

/// The beginning of a text on one line, cut between characters.
std::string excerpt(const std::string& text) {
  constexpr std::size_t kBytesMax = 56;
  std::string line = text.substr(0, text.find('\n'));
  bool cut = line.size() < text.size();
  if (line.size() > kBytesMax) {
    cut = true;
    std::size_t end = kBytesMax;
    while (end > 0 && (static_cast<unsigned char>(line[end]) & 0xC0U) == 0x80U) --end;
    line.resize(end);
  }
  return cut ? line + "..." : line;
}

/// "stalls: rank 1 waited 2 times past the limit (3.1 s, the last for rank 0)", or nothing.
std::string stalls_text(std::span<const RankHealth> ranks) {
  std::string text;
  for (const RankHealth& rank : ranks) {
    if (rank.stalls == 0) continue;
    text += (text.empty() ? "stalls: rank " : "; rank ") + std::to_string(rank.rank.index()) +
            " waited " + std::to_string(rank.stalls) + (rank.stalls == 1 ? " time" : " times") +
            " past the limit (" + format("%.1f s", rank.stalled_s);
    if (rank.last_stalled_on) {
      text += ", the last for rank " + std::to_string(rank.last_stalled_on->index());
    }
    text += ")";
  }
  std::string lines;
  for (const std::string& line : wrapped(text, kTextColumns)) lines += line + "\n";
  return lines;
}

Json stalls_json(std::span<const RankHealth> ranks) {
  Json stalls = Json::array();
  for (const RankHealth& rank : ranks) {
    if (rank.stalls == 0) continue;
    Json entry{{"rank", rank.rank.index()},
               {"count", rank.stalls},
               {"stalled_s", rank.stalled_s},
               {"last_stalled_on", nullptr}};
    if (rank.last_stalled_on) entry["last_stalled_on"] = rank.last_stalled_on->index();
    stalls.push_back(entry);
  }
  return stalls;
}

Json timing_json(const GenerateResult& result) {
  return {{"load_s", result.load_s},
          {"prefill_s", result.timing.prefill_s},
          {"decode_s", result.timing.decode_s},
          {"tokens_per_s", tokens_per_second(result.timing)}};
}

}  // namespace

CompletionStream::CompletionStream(std::ostream& output, std::span<const Prompt> prompts,
                                   const Tokenizer& tokenizer)
    : output_(output), prompts_(prompts) {
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    texts_.push_back({StreamingDecoder(tokenizer), {}, false});
  }
  write_heading(0);
}

void CompletionStream::write_heading(std::size_t index) {
  if (prompts_.size() < 2) return;
  output_ << (index == 0 ? "" : "\n") << "[" << index + 1 << "/" << prompts_.size() << "] "
          << excerpt(prompts_[index].text) << " (" << prompts_[index].tokens.size() << " tokens)\n";
}

void CompletionStream::push(const TokenOutcome& outcome) {
  Text& text = texts_[outcome.request];
  if (outcome.is_text) text.pending += text.decoder.push(outcome.token);
  if (outcome.finished) {
    text.pending += text.decoder.flush();
    text.finished = true;
  }
  if (outcome.request == current_) write_ready();
}

void CompletionStream::write_ready() {
  while (current_ < texts_.size()) {
    Text& text = texts_[current_];
    output_ << text.pending;
    text.pending.clear();
    if (!text.finished) break;
    output_ << "\n";
    if (++current_ < texts_.size()) write_heading(current_);
  }
  require_written(output_);
}

void print_summary(const GenerateResult& result, const Layout& layout, std::ostream& output) {
  const LayoutSizes& sizes = layout.sizes();
  output << "\n"
         << layout.world_size() << (layout.world_size() == 1 ? " rank: " : " ranks: ")
         << "attention data-parallel " << sizes.attn_dp << " x context-parallel " << sizes.attn_cp
         << " x tensor-parallel " << layout.attn_tp() << ",\nMLP tensor-parallel " << sizes.tp
         << "\n\n"
         << ledger_as_text(result.communication) << "\n";
  const auto planned = std::ranges::max(result.planned_bytes);
  const auto measured = std::ranges::max(result.measured_bytes);
  const EngineTiming& timing = result.timing;
  output << "symmetric memory: " << format_bytes(planned) << " planned and "
         << format_bytes(measured) << " measured on the largest rank,\n"
         << result.registrations_since_commit << " registrations since commit\n"
         << stalls_text(result.ranks) << "load " << format("%.2f", result.load_s) << " s; prefill "
         << timing.prefill_tokens << " tokens in " << format("%.2f", timing.prefill_s)
         << " s;\ndecode " << timing.decode_tokens << " tokens in "
         << format("%.2f", timing.decode_s) << " s, " << format("%.1f", tokens_per_second(timing))
         << " tokens/s" << std::endl;
}

std::string generate_report(const GenerateResult& result) {
  // A page is passed on to others: what was asked and answered is not in it.
  Json prompts = Json::array();
  for (std::size_t i = 0; i < result.prompts.size(); ++i) {
    const Completion& completion = result.completions[i];
    prompts.push_back({{"prompt_tokens", result.prompts[i].tokens.size()},
                       {"completion_tokens", completion.tokens.size()},
                       {"finish_reason", to_string(completion.finish_reason)},
                       {"replica", completion.replica}});
  }
  const Json run{{"prompts", prompts},
                 {"stalls", stalls_json(result.ranks)},
                 {"registrations_since_commit", result.registrations_since_commit},
                 {"measured_bytes", result.measured_bytes},
                 {"timing", timing_json(result)}};
  return report_page(
      job_document(result.plan.value(), result.communication, result.timelines, run).dump());
}

void print_json(const GenerateResult& result, const Layout& layout, std::ostream& output) {
  Json prompts = Json::array();
  for (std::size_t i = 0; i < result.prompts.size(); ++i) {
    const Completion& completion = result.completions[i];
    prompts.push_back({{"prompt", result.prompts[i].text},
                       {"prompt_tokens", result.prompts[i].tokens.size()},
                       {"completion", completion.text},
                       {"tokens", completion.tokens},
                       {"finish_reason", to_string(completion.finish_reason)},
                       {"replica", completion.replica}});
  }
  const Json document{
      {"schema", 1},
      {"version", COHORT_VERSION},
      {"prompts", prompts},
      {"layout", layout_json(layout)},
      {"communication", ledger_json(result.communication)},
      {"stalls", stalls_json(result.ranks)},
      {"registrations_since_commit", result.registrations_since_commit},
      {"footprint",
       {{"planned_bytes", result.planned_bytes}, {"measured_bytes", result.measured_bytes}}},
      {"timing", timing_json(result)}};
  // A completion cut short may end within a character.
  output << document.dump(-1, ' ', false, Json::error_handler_t::replace) << std::endl;
}

}  // namespace cohort
