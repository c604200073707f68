#include "backend/cuda/nccl/nccl_survey.hpp"

#include "rendezvous/wire.hpp"

namespace cohort::cuda {
namespace {

std::string name_of_rank(std::size_t rank) {
  return "rank " + std::to_string(rank);
}

}  // namespace

NcclFacts facts_of_nccl(const nccl::Api* api, const std::string& device) {
  NcclFacts mine;
  mine.device = device;
  if (api == nullptr) {
    mine.missing = "the GPU plugin was built without NCCL";
    return mine;
  }
  nccl::LibraryFacts facts{};
  if (const Status status = api->load(&facts); status.code != Status::Code::ok) {
    mine.missing = status.text;
    return mine;
  }
  mine.version = {facts.version};
  mine.path = facts.path;
  mine.windows_off = facts.windows_off;
  mine.has_all_to_all = facts.has_all_to_all;
  mine.registers_operands = facts.registers_operands;
  return mine;
}

std::vector<std::byte> NcclFacts::encode() const {
  wire::Writer writer;
  writer.put_text(missing);
  writer.put(version.code);
  writer.put_text(path);
  writer.put_text(windows_off);
  writer.put(static_cast<std::uint8_t>(has_all_to_all));
  writer.put(static_cast<std::uint8_t>(registers_operands));
  writer.put_text(device);
  return writer.take();
}

NcclFacts NcclFacts::decode(std::span<const std::byte> bytes) {
  wire::Reader reader(bytes);
  NcclFacts facts;
  facts.missing = reader.get_text();
  facts.version.code = reader.get<std::int32_t>();
  facts.path = reader.get_text();
  facts.windows_off = reader.get_text();
  facts.has_all_to_all = reader.get<std::uint8_t>() != 0;
  facts.registers_operands = reader.get<std::uint8_t>() != 0;
  facts.device = reader.get_text();
  return facts;
}

NcclSupport agree_on_nccl(std::span<const NcclFacts> facts) {
  NcclSupport support;
  support.has_all_to_all = true;
  for (std::size_t rank = 0; rank < facts.size(); ++rank) {
    const NcclFacts& theirs = facts[rank];
    if (!theirs.missing.empty()) {
      support.refusal = name_of_rank(rank) + ": " + theirs.missing;
      return support;
    }
    if (theirs.version != facts.front().version) {
      support.refusal = name_of_rank(0) + " has NCCL " + to_string(facts.front().version) + " (" +
                        facts.front().path + "), " + name_of_rank(rank) + " has " +
                        to_string(theirs.version) + " (" + theirs.path +
                        "): all ranks need the same one";
      return support;
    }
    support.has_all_to_all = support.has_all_to_all && theirs.has_all_to_all;
    support.registers_operands = support.registers_operands || theirs.registers_operands;
    if (support.windows_refusal.empty() && !theirs.windows_off.empty()) {
      support.windows_refusal = name_of_rank(rank) + ": " + theirs.windows_off;
    }
  }
  if (!facts.empty()) support.version = facts.front().version;
  const nccl::Support plain = support_of(support.version, nccl::Feature::plain_calls);
  if (!plain.supported) support.refusal = plain.reason;
  const nccl::Support windows = support_of(support.version, nccl::Feature::windows);
  if (support.windows_refusal.empty()) support.windows_refusal = windows.reason;
  return support;
}

std::string refusal_of_group(std::span<const NcclFacts> facts, std::span<const WorldRank> ranks) {
  if (ranks.size() < 2) return "a group of one exchanges nothing";
  for (std::size_t i = 0; i < ranks.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      if (facts[ranks[i].index()].device != facts[ranks[j].index()].device) continue;
      return "ranks " + std::to_string(ranks[j].index()) + " and " +
             std::to_string(ranks[i].index()) + " are on one device, " +
             facts[ranks[i].index()].device + ", and NCCL wants one for each";
    }
  }
  return {};
}

}  // namespace cohort::cuda
