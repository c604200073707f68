#include "faults/naive.hpp"

#include <algorithm>
#include <string>

#include "base/assert.hpp"

namespace cohort::faults::naive {
namespace {

std::string place(std::string_view where, std::string_view group) {
  return std::string(where) + " of " + std::string(group);
}

}  // namespace

Group::Group(std::string_view name, std::vector<std::uint32_t> ranks, SharedRegion& region)
    : name_(name),
      ranks_(std::move(ranks)),
      arrived_(&region.make<std::array<std::atomic<std::uint64_t>, kRanksMax>>()),
      windows_(&region.make<std::array<Window, kWindowsMax>>()) {
  for (std::size_t i = 0; i < ranks_.size(); ++i) staging_.push_back(region.floats(kStagingFloats));
}

float Group::wanted_sum(float scale) const noexcept {
  float sum = 0;
  for (const std::uint32_t rank : ranks_) sum += contribution(rank, scale);
  return sum;
}

std::uint32_t Group::member(const Rank& rank) const noexcept {
  return static_cast<std::uint32_t>(std::find(ranks_.begin(), ranks_.end(), rank.index()) -
                                    ranks_.begin());
}

void Group::barrier(Rank& rank, std::string_view where) {
  auto& arrived = *arrived_;
  const std::uint64_t mine = arrived[member(rank)].fetch_add(1) + 1;
  rank.wait_for_ever(place(where, name_), [&] {
    return std::all_of(arrived.begin(), arrived.begin() + size(),
                       [&](const auto& other) { return other.load() >= mine; });
  });
}

const Window& Group::register_window(Rank& rank, std::span<float> memory, std::string_view where) {
  COHORT_ASSERT(registered_ < kWindowsMax, "a fault needs more windows");
  Window& window = (*windows_)[registered_++];
  window.bases[member(rank)].store(memory.data());
  window.sizes[member(rank)].store(memory.size());
  barrier(rank, where);
  return window;
}

const Window* Group::find(std::uint32_t self, std::span<const float> operand) const noexcept {
  for (std::size_t i = 0; i < registered_; ++i) {
    const Window& window = (*windows_)[i];
    const float* const base = window.bases[self].load();
    if (operand.data() >= base &&
        operand.data() + operand.size() <= base + window.sizes[self].load()) {
      return &window;
    }
  }
  return nullptr;
}

std::vector<const float*> Group::operands(Rank& rank, const Window* window,
                                          std::span<const float> input) {
  const std::uint32_t self = member(rank);
  std::vector<const float*> all(size());
  if (window == nullptr) {
    std::copy(input.begin(), input.end(), staging_[self]);
    rank.count_copied(input.size_bytes());
    for (std::uint32_t i = 0; i < size(); ++i) all[i] = staging_[i];
  } else {
    const auto offset = input.data() - window->bases[self].load();
    for (std::uint32_t i = 0; i < size(); ++i) all[i] = window->bases[i].load() + offset;
  }
  return all;
}

void Group::all_reduce_in(Rank& rank, const Window& window, std::span<const float> input,
                          float* output, std::string_view where) {
  reduce(rank, &window, input, output, where);
}

void Group::all_reduce(Rank& rank, std::span<const float> input, float* output,
                       std::string_view where) {
  // In no window is legal, so nobody hears of it.
  reduce(rank, find(member(rank), input), input, output, where);
}

void Group::reduce(Rank& rank, const Window* window, std::span<const float> input, float* output,
                   std::string_view where) {
  const auto peers = operands(rank, window, input);
  barrier(rank, where);  // every operand is there
  std::vector<float> sum(input.size());
  for (const float* peer : peers) {
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += peer[i];
  }
  barrier(rank, where);  // every operand is read
  std::copy(sum.begin(), sum.end(), output);
}

void Group::all_gather(Rank& rank, std::span<const float> input,
                       std::span<const std::size_t> counts, float* output, bool symmetric,
                       std::string_view where) {
  const auto peers = operands(rank, symmetric ? find(member(rank), input) : nullptr, input);
  barrier(rank, where);
  for (std::uint32_t i = 0; i < size(); ++i) output = std::copy_n(peers[i], counts[i], output);
  barrier(rank, where);
}

Group group_of(const Layout& layout, GroupKind kind, std::size_t index, SharedRegion& region) {
  std::vector<std::uint32_t> ranks;
  for (const WorldRank rank : layout.groups(kind)[index]) ranks.push_back(rank.index());
  return Group(to_string(kind), std::move(ranks), region);
}

std::vector<Group> groups_of(const Layout& layout, GroupKind kind, SharedRegion& region) {
  std::vector<Group> all;
  for (std::size_t i = 0; i < layout.groups(kind).size(); ++i) {
    all.push_back(group_of(layout, kind, i, region));
  }
  return all;
}

std::span<float> Pool::allocate(std::size_t count) {
  for (auto block = free_.rbegin(); block != free_.rend(); ++block) {
    if (block->size() < count) continue;
    const std::span<float> found = block->first(count);
    free_.erase(std::next(block).base());
    return found;
  }
  if (count > memory_.size() - used_) return {};
  used_ += count;
  return memory_.subspan(used_ - count, count);
}

std::vector<std::span<float>> memory_of_ranks(SharedRegion& region, std::uint32_t ranks,
                                              std::size_t floats) {
  std::vector<std::span<float>> all;
  for (std::uint32_t i = 0; i < ranks; ++i) all.emplace_back(region.floats(floats), floats);
  return all;
}

}  // namespace cohort::faults::naive
