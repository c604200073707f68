#include "generate_rank.hpp"

#include <cstdlib>
#include <memory>
#include <new>
#include <optional>
#include <ostream>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <cohort/plan.hpp>
#include <cohort/session.hpp>

#include "backend/host/domain.hpp"
#include "base/clock.hpp"
#include "base/log.hpp"
#include "engine/engine.hpp"
#include "engine/plan_slots.hpp"
#include "engine/schedule.hpp"
#include "model/gguf.hpp"
#include "model/llama.hpp"
#include "model/matmul.hpp"
#include "model/model_config.hpp"
#include "model/parallel.hpp"
#include "model/sampler.hpp"
#include "model/tokenizer_from_gguf.hpp"
#include "progress.hpp"
#include "rendezvous/wire.hpp"
#include "report/job_document.hpp"
#include "report/job_ledger.hpp"
#include "report/trace.hpp"
#include "terminal.hpp"

namespace cohort {

namespace {

/// Tokens that were written, and the most that there can be: a completion may end early.
class TokenCount {
 public:
  explicit TokenCount(std::span<const Request> requests) {
    for (const Request& request : requests) {
      left_.push_back(request.completion_tokens_max);
      most_ += left_.back();
    }
  }

  void add(const TokenOutcome& outcome) {
    std::size_t& left = left_[outcome.request];
    if (left > 0) {
      --left;
      ++done_;
    }
    if (outcome.finished) most_ -= std::exchange(left, 0);
  }
  std::size_t done() const noexcept { return done_; }
  std::size_t most() const noexcept { return most_; }

 private:
  std::vector<std::size_t> left_;  // by request
  std::size_t done_ = 0;
  std::size_t most_ = 0;
};

/// A report shows no more calls than it would hold alone, so what a trace holds is enough for both.
std::size_t calls_max(const GenerateFlags& flags, const Layout& layout) {
  const std::uint32_t rank_count = layout.world_size();
  return flags.trace.empty() ? report_calls_max(rank_count) : trace_calls_max(rank_count);
}

class Rank {
 public:
  Rank(World& world, const GenerateFlags& flags, const Layout& layout,
       const GenerateStreams& streams)
      : world_(world),
        flags_(flags),
        streams_(streams),
        file_(GgufFile::open(flags.engine.model)),
        config_(model_config_from(file_)),
        tokenizer_(load_tokenizer(file_)),
        plan_(layout, flags.engine.plan_options()),
        spec_(flags.engine.spec(config_)),
        slots_(plan_slots(plan_, config_, spec_)) {
    require_products(spec_.dtype);
    if (flags.records_calls()) timeline_.emplace(calls_max(flags, layout));
  }

  GenerateResult run() {
    // A choice of the user's, or the launcher's, stands.
    if (std::getenv("OMP_NUM_THREADS") == nullptr) {
      set_compute_threads(compute_threads_for(plan_.layout().group_size(GroupKind::host)));
    }
    GenerateResult result;
    result.prompts = share_prompts();
    Schedule schedule(requests_, {.replica_count = plan_.layout().sizes().attn_dp,
                                  .maxima = spec_.maxima,
                                  .stop_tokens = stop_tokens()});
    std::optional<collectives::RecordCalls> recording;
    if (timeline_) recording.emplace(*timeline_);
    Session session = commit(world_, plan_);
    try {
      serve_session(session, schedule, result);
    } catch (const Error& error) {
      // While the session lives: that it is dropped must not be the first thing the others hear.
      world_.fail(error);
      throw;
    } catch (const std::bad_alloc&) {
      const Error error(ErrorCode::out_of_memory,
                        "rank " + std::to_string(world_.rank().index()) +
                            " has no memory for the model and its buffers; use more ranks, or "
                            "lower --context, --max-sequences or --max-step-tokens",
                        world_.rank(), "load");
      world_.fail(error);
      throw error;
    }
    session.close();
    return result;
  }

 private:
  bool is_first() const { return world_.rank() == WorldRank{0}; }

  /// One rank speaks for all.
  Verbosity own_verbosity() const {
    return is_first() ? flags_.verbosity : Verbosity{.quiet = true};
  }

  /// What every rank has to say, by rank, outside of the session: set-up, not a step.
  std::vector<std::vector<std::byte>> exchange(std::span<const std::byte> mine,
                                               std::string_view phase) {
    host::Domain& domain = world_.domain();
    return domain.all_gather(mine, phase, domain.deadline_after(domain.limits().setup));
  }

  std::vector<Prompt> share_prompts() {
    std::vector<std::byte> bytes;
    if (is_first()) {
      bytes = encode_prompts(tokenize_prompts(read_prompt_texts(flags_, streams_.input), file_,
                                              tokenizer_, flags_.chat));
    }
    std::vector<Prompt> prompts = decode_prompts(exchange(bytes, "prompts").front());
    for (const Prompt& prompt : prompts) {
      requests_.push_back({prompt.tokens, flags_.completion_tokens_max});
    }
    return prompts;
  }

  std::vector<TokenId> stop_tokens() const {
    if (flags_.ignore_eos || !tokenizer_.eos()) return {};
    return {*tokenizer_.eos()};
  }

  std::unique_ptr<LlamaDecoder> load_decoder() {
    log(LogLevel::info, "loading the model");
    Progress shown(streams_.errors, "loading the model", "tensors", own_verbosity());
    const auto progress = [&](std::size_t done, std::size_t total) {
      world_.check("loading the model");
      shown.set(done, total);
    };
    auto decoder = load_llama({file_, config_}, plan_.layout(), world_.rank(), spec_.dtype,
                              slots_.llama, progress);
    // Ranks load at different speeds; waiting for each other here leaves the deadline of a step to
    // the steps.
    exchange({}, "load");
    shown.end();
    return decoder;
  }

  void serve_session(Session& session, Schedule& schedule, GenerateResult& result) {
    const Stopwatch load;
    const auto decoder = load_decoder();
    result.load_s = load.seconds();
    Engine engine(session, *decoder, slots_, world_.rank());
    result.timing = serve(engine, schedule, result);
    gather_figures(session, result);
  }

  EngineTiming serve(Engine& engine, Schedule& schedule, GenerateResult& result) {
    const bool streams_text = is_first() && !flags_.json;
    std::optional<CompletionStream> stream;
    if (streams_text) stream.emplace(streams_.output, result.prompts, tokenizer_);
    result.completions.resize(result.prompts.size());
    const SamplingOptions sampling = flags_.sampling();
    const auto pick = [&](std::size_t request, std::span<const float> logits) {
      const std::size_t position =
          requests_[request].prompt.size() + schedule.completion(request).size();
      return sample(logits, sampling, request, position);
    };
    // Where the text itself is seen to come, it is the progress.
    const bool text_is_seen = streams_text && terminal_of(streams_.output).live;
    Progress shown(streams_.errors, "generating", "tokens",
                   text_is_seen ? Verbosity{.quiet = true} : own_verbosity());
    TokenCount written(requests_);
    const auto sink = [&](const TokenOutcome& outcome) {
      if (stream) stream->push(outcome);
      written.add(outcome);
      shown.set(written.done(), written.most());
      if (outcome.finished) {
        result.completions[outcome.request].finish_reason = *outcome.finished;
      }
    };
    const EngineTiming timing = engine.run(schedule, pick, sink);
    shown.end();
    for (std::size_t i = 0; i < result.completions.size(); ++i) {
      Completion& completion = result.completions[i];
      const auto tokens = schedule.completion(i);
      completion.tokens.assign(tokens.begin(), tokens.end());
      completion.text = tokenizer_.decode(tokens, ControlText::drop);
      completion.replica = schedule.replica_of(i);
    }
    return timing;
  }

  void gather_figures(const Session& session, GenerateResult& result) {
    wire::Writer writer;
    writer.put_bytes(encode_ledger(session.ledger()));
    writer.put(session.registrations_since_commit());
    writer.put(static_cast<std::uint64_t>(session.measured_bytes()));
    std::vector<std::vector<LedgerRow>> ledgers;
    for (const auto& bytes : exchange(writer.bytes(), "report")) {
      wire::Reader reader(bytes);
      ledgers.push_back(decode_ledger(reader.get_bytes()));
      result.registrations_since_commit += reader.get<std::uint64_t>();
      result.measured_bytes.push_back(reader.get<std::uint64_t>());
    }
    result.communication = merge_ledgers(ledgers);
    if (timeline_) {
      const auto encoded = exchange(encode_timeline(*timeline_), "timeline");
      if (is_first()) result.timelines = align_timelines(encoded);
    }
    if (is_first()) result.plan = plan_;
    result.ranks = world_.health().ranks;
    const Footprint planned = footprint(plan_);
    for (std::uint32_t rank = 0; rank < world_.size(); ++rank) {
      result.planned_bytes.push_back(planned.planned_bytes(WorldRank{rank}));
    }
  }

  World& world_;
  const GenerateFlags& flags_;
  const GenerateStreams& streams_;
  GgufFile file_;
  ModelConfig config_;
  Tokenizer tokenizer_;
  Plan plan_;
  EngineSpec spec_;
  EngineSlots slots_;
  std::vector<Request> requests_;
  std::optional<collectives::Timeline> timeline_;  // of this rank, if one is asked for
};

}  // namespace

GenerateResult generate_on_rank(World& world, const GenerateFlags& flags, const Layout& layout,
                                const GenerateStreams& streams) {
  return Rank(world, flags, layout, streams).run();
}

}  // namespace cohort
