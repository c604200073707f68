// What ranks and launchers say to each other before and after they are connected. The first byte
// picks the kind of message.

#include <map>
#include <optional>
#include <vector>

#include "backend/cuda/nccl/nccl_survey.hpp"
#include "backend/host/hello.hpp"
#include "fuzz/fuzz.hpp"
#include "rendezvous/launched_rank.hpp"
#include "rendezvous/protocol.hpp"
#include "rendezvous/relay.hpp"
#include "rendezvous/torchrun.hpp"
#include "rendezvous/wire.hpp"
#include "report/job_ledger.hpp"

namespace cohort::fuzz {
namespace {

using Bytes = std::span<const std::byte>;

constexpr std::uint32_t kRankCount = 3;

/// A rank may say that it ended with any error; only what is thrown here must be one.
template <typename Use>
void survives(const Use& use) {
  try {
    use();
  } catch (const Error&) {
    return;
  }
}

void check_error(Bytes payload) {
  const Error error = rendezvous::decode_error(payload);
  const Error again = rendezvous::decode_error(rendezvous::encode_error(error));
  const bool same = again.code() == error.code() && again.rank() == error.rank() &&
                    again.phase() == error.phase() &&
                    std::string_view(again.what()) == error.what();
  if (!same) finding("an error that is sent arrives", error.what());
}

/// As the launcher hears a rank: frames in pieces, of which gathers go on to the other ranks.
void hear_frames(Bytes bytes) {
  using namespace rendezvous;
  FrameReader reader;
  Relay relay(kRankCount);
  std::uint32_t turn = 0;
  while (!bytes.empty()) {
    const std::size_t piece = std::min<std::size_t>(bytes.size(), 1 + turn % 7 * 5);
    reader.feed(bytes.first(piece));
    bytes = bytes.subspan(piece);
    const WorldRank from{turn++ % kRankCount};
    while (const auto frame = reader.next()) {
      wire::Reader payload(frame->payload);
      if (frame->type == FrameType::error || frame->type == FrameType::failed) {
        check_error(frame->payload);
      } else if (frame->type == FrameType::gather) {
        const auto round = payload.get<std::uint64_t>();
        const Bytes said = payload.get_bytes();
        static_cast<void>(relay.on_gather(from, round, {said.begin(), said.end()}));
      } else if (frame->type == FrameType::ask_missing) {
        static_cast<void>(relay.on_ask_missing(from, payload.get<std::uint64_t>()));
      }
    }
  }
}

void hear_hello(Bytes bytes) {
  host::Hello mine;
  // Fixed, so that the corpus goes on saying what it says when the library changes.
  mine.abi = 1;
  mine.layout_bytes = 1;
  mine.version = "1";
  mine.boot_id = "boot";
  mine.socket_name = "name";
  mine.token = "token";
  static_cast<void>(host::decode_hello(bytes, WorldRank{1}, mine));
  static_cast<void>(host::decode_farewell(bytes));
}

void hear_ledger(Bytes bytes) {
  const std::vector<LedgerRow> rows = decode_ledger(bytes);
  const std::vector<LedgerRow> ledgers[] = {rows, rows};
  static_cast<void>(merge_ledgers(ledgers));
  for (const LedgerRow& row : rows) static_cast<void>(format_ranks(row.ranks));
  if (decode_ledger(encode_ledger(rows)).size() != rows.size()) {
    finding("a ledger that is sent arrives");
  }
}

void hear_nccl(Bytes bytes) {
  const cuda::NcclFacts facts = cuda::NcclFacts::decode(bytes);
  const cuda::NcclFacts ranks[] = {facts, cuda::NcclFacts::decode(facts.encode())};
  static_cast<void>(cuda::agree_on_nccl(ranks));
}

/// The variables by which a rank finds its launcher, cut at NUL bytes; "-" stands for unset.
void read_environment(std::string_view text) {
  std::map<std::string, std::string> values;
  for (const char* const name :
       {rendezvous::kRankVariable, rendezvous::kWorldSizeVariable, rendezvous::kSocketVariable}) {
    const std::string_view value = cut(text, '\0');
    if (value != "-") values[name] = value;
  }
  accepted([&] {
    const auto environment = rendezvous::parse_rank_environment([&](const char* name) {
      const auto found = values.find(name);
      return found == values.end() ? nullptr : found->second.c_str();
    });
    if (environment && environment->rank.index() >= environment->rank_count) {
      finding("a rank is below the count of ranks");
    }
  });
}

/// The variables of torchrun, cut in the same way.
void read_torchrun(std::string_view text) {
  std::map<std::string, std::string> values;
  for (const char* const name : {"RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT",
                                 "LOCAL_WORLD_SIZE", "TORCHELASTIC_RUN_ID"}) {
    const std::string_view value = cut(text, '\0');
    if (value != "-") values[name] = value;
  }
  accepted([&] {
    const auto environment = rendezvous::parse_torchrun_environment(
        [&](const char* name) {
          const auto found = values.find(name);
          return found == values.end() ? nullptr : found->second.c_str();
        },
        0);
    if (!environment) return;
    if (environment->rank.index() >= environment->rank_count) {
      finding("a rank of torchrun is below the count of ranks");
    }
    // An abstract address has 107 bytes behind its leading 0.
    if (environment->socket_name.empty() || environment->socket_name.size() > 107) {
      finding("a meeting has an address", environment->socket_name);
    }
  });
}

}  // namespace
}  // namespace cohort::fuzz

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cohort::fuzz;
  if (size == 0) return 0;
  const std::span rest(data + 1, size - 1);
  const Bytes bytes = std::as_bytes(rest);
  switch (data[0] % 6) {
    case 0: survives([&] { hear_frames(bytes); }); break;
    case 1: survives([&] { hear_hello(bytes); }); break;
    case 2: survives([&] { hear_ledger(bytes); }); break;
    case 3: survives([&] { hear_nccl(bytes); }); break;
    case 4: read_environment(text_of(rest)); break;
    default: read_torchrun(text_of(rest)); break;
  }
  return 0;
}
