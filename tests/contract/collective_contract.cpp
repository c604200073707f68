#include "contract/collective_contract.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <cohort/error.hpp>

#include "contract/reference_values.hpp"

namespace cohort::contract {
namespace {

constexpr std::array kDTypes = all_dtypes();
constexpr std::array kReduceOps = {ReduceOp::sum, ReduceOp::min, ReduceOp::max};
/// Elements of one rank's part: nothing, one, around a vector, and past the limit of host_inline.
constexpr std::array<std::size_t, 7> kPartElements = {0, 1, 3, 63, 65, 1000, 5000};
constexpr std::size_t kRanksMax = 16;
constexpr std::size_t kElementsMax = 5000 * kRanksMax + 64;

/// Where an operand lies: taken from the slot, or in ordinary memory, perhaps off alignment.
enum class Home : std::uint8_t { heap, heap_shifted, outside };
constexpr std::array kHomes = {Home::heap, Home::heap_shifted, Home::outside};

/// One call under test: two operands in the homes asked for, outputs poisoned.
class Bench {
 public:
  Bench(Session& session, Group on, WorldRank self, DType of, std::uint64_t call_seed,
        OperandAccess& access)
      : group(on), rank(self), dtype(of), seed(call_seed), session_(&session), access_(&access) {}

  Tensor operand(Home home, std::size_t elements, bool second) {
    const std::size_t shift = home == Home::heap ? 0 : 3;  // elements
    std::byte* base = nullptr;
    if (home == Home::outside) {
      base = access_->outside(second, (elements + shift) * bytes_of(dtype));
    } else {
      const std::uint32_t first_slot = static_cast<std::uint32_t>(dtype) * 2;
      base = session_->take(SlotId{first_slot + (second ? 1U : 0U)}).as<std::byte>();
    }
    Tensor tensor{base + shift * bytes_of(dtype), elements, dtype};
    host_.assign(elements * bytes_of(dtype), std::byte{0x5A});
    access_->write(tensor.data, host_.data(), host_.size());
    seen_ = nullptr;
    return tensor;
  }

  /// `from`'s elements of this call.
  void fill(const Tensor& tensor, WorldRank from) {
    host_.resize(tensor.elements * bytes_of(dtype));
    contract::fill(host_.data(), seed, from, 0, tensor.elements, dtype);
    access_->write(tensor.data, host_.data(), host_.size());
    seen_ = nullptr;
  }
  void fill(const Tensor& tensor) { fill(tensor, rank); }

  bool sends_messages() const { return !session_->plan().send_recvs().empty(); }

  /// After every call: results are there, and nothing that was seen before holds.
  void done(const Verdict& /*verdict*/) {
    access_->finish();
    seen_ = nullptr;
  }

  void expect(const Tensor& output, std::size_t index, std::uint64_t wanted,
              const std::string& what) {
    if (seen_ != output.data) {
      host_.resize(output.elements * bytes_of(dtype));
      access_->read(host_.data(), output.data, host_.size());
      seen_ = output.data;
    }
    const std::uint64_t actual = bits_at(host_.data(), index, dtype);
    if (actual == wanted) return;
    throw std::runtime_error(what + " on " + std::string(to_string(group.kind())) + " of " +
                             std::to_string(group.size()) + ", " + std::string(to_string(dtype)) +
                             ", rank " + std::to_string(rank.index()) + ": element " +
                             std::to_string(index) + " of " + std::to_string(output.elements) +
                             " has bits " + std::to_string(actual) + ", expected " +
                             std::to_string(wanted));
  }

  Group group;
  WorldRank rank;
  DType dtype;
  std::uint64_t seed;

 private:
  Session* session_;
  OperandAccess* access_;
  std::vector<std::byte> host_;  // what was last written or seen
  const void* seen_ = nullptr;   // of whose elements `host_` holds all
};

void expect_reduced(Bench& bench, const Tensor& output, std::size_t first, ReduceOp op,
                    const std::string& what) {
  for (std::size_t i = 0; i < output.elements; ++i) {
    const std::uint64_t wanted =
        reduced_bits(bench.seed, bench.group.ranks(), first + i, bench.dtype, op);
    bench.expect(output, i, wanted, what);
    // Says that the wanted bits are sensible: a share of them on each rank will do.
    if (i % bench.group.size() != bench.group.rank().index()) continue;
    check_against_float64(wanted, bench.seed, bench.group.ranks(), first + i, bench.dtype, op,
                          what);
  }
}

void check_all_reduce(Bench& bench, std::size_t elements, ReduceOp op, Home in, Home out) {
  const Tensor input = bench.operand(in, elements, false);
  bench.fill(input);
  const Tensor output = bench.operand(out, elements, true);
  bench.done(bench.group.all_reduce(input, output, op));
  expect_reduced(bench, output, 0, op, "all_reduce");
  for (std::size_t i = 0; i < elements; ++i) {
    bench.expect(input, i, element_bits(bench.seed, bench.rank, i, bench.dtype),
                 "input of all_reduce");
  }
  const Tensor both = bench.operand(in, elements, false);
  bench.fill(both);
  bench.done(bench.group.all_reduce(both, op));
  expect_reduced(bench, both, 0, op, "all_reduce in place");
}

/// Part of member m: uneven, some of them empty, different from size to size.
std::vector<std::size_t> uneven_counts(std::uint32_t size, std::size_t part) {
  std::vector<std::size_t> counts(size);
  for (std::uint32_t m = 0; m < size; ++m) {
    counts[m] = (m + part) % 3 == 0 ? 0 : (part * (m % 4 + 1)) / 3;
  }
  return counts;
}

/// One member has all but `rest` of the elements, its neighbour the rest, the others none.
std::vector<std::size_t> lopsided_counts(std::uint32_t size, std::size_t total, std::size_t rest) {
  std::vector<std::size_t> counts(size);
  const std::size_t owner = total % size;
  const std::size_t left = std::min(rest, total);
  counts[owner] = total - left;
  counts[(owner + 1) % size] += left;
  return counts;
}

void expect_gathered(Bench& bench, const Tensor& output, std::span<const std::size_t> counts,
                     const std::string& what) {
  std::size_t position = 0;
  for (std::uint32_t m = 0; m < bench.group.size(); ++m) {
    const WorldRank from = bench.group.to_world(GroupRank{m});
    for (std::size_t i = 0; i < counts[m]; ++i) {
      bench.expect(output, position++, element_bits(bench.seed, from, i, bench.dtype), what);
    }
  }
}

void check_gather(Bench& bench, std::span<const std::size_t> counts, bool plain, Home in,
                  Home out) {
  const std::uint32_t self = bench.group.rank().index();
  const std::size_t total = std::accumulate(counts.begin(), counts.end(), std::size_t{0});
  const std::size_t begin = std::accumulate(counts.begin(), counts.begin() + self, std::size_t{0});
  const auto gather = [&](ConstTensor input, Tensor output) {
    bench.done(plain ? bench.group.all_gather(input, output)
                     : bench.group.all_gatherv(input, output, counts));
  };
  const Tensor input = bench.operand(in, counts[self], false);
  bench.fill(input);
  const Tensor output = bench.operand(out, total, true);
  gather(input, output);
  expect_gathered(bench, output, counts, plain ? "all_gather" : "all_gatherv");

  const Tensor whole = bench.operand(out, total, true);
  const Tensor own{static_cast<std::byte*>(whole.data) + begin * bytes_of(bench.dtype),
                   counts[self], bench.dtype};
  bench.fill(own);
  gather(own, whole);
  expect_gathered(bench, whole, counts, "gather in place");
}

void check_scatter(Bench& bench, std::span<const std::size_t> counts, bool plain, ReduceOp op,
                   Home in, Home out) {
  const std::uint32_t self = bench.group.rank().index();
  const std::size_t total = std::accumulate(counts.begin(), counts.end(), std::size_t{0});
  const std::size_t begin = std::accumulate(counts.begin(), counts.begin() + self, std::size_t{0});
  const auto scatter = [&](ConstTensor input, Tensor output) {
    bench.done(plain ? bench.group.reduce_scatter(input, output, op)
                     : bench.group.reduce_scatterv(input, output, counts, op));
  };
  const Tensor input = bench.operand(in, total, false);
  bench.fill(input);
  const Tensor output = bench.operand(out, counts[self], true);
  scatter(input, output);
  expect_reduced(bench, output, begin, op, plain ? "reduce_scatter" : "reduce_scatterv");

  const Tensor whole = bench.operand(in, total, false);
  bench.fill(whole);
  const Tensor own{static_cast<std::byte*>(whole.data) + begin * bytes_of(bench.dtype),
                   counts[self], bench.dtype};
  scatter(whole, own);
  expect_reduced(bench, own, begin, op, "reduce_scatter in place");
}

void check_broadcast(Bench& bench, std::size_t elements, Home home) {
  for (std::uint32_t root = 0; root < bench.group.size(); ++root) {
    const Tensor operand = bench.operand(home, elements, false);
    const WorldRank from = bench.group.to_world(GroupRank{root});
    if (bench.rank == from) bench.fill(operand, from);
    bench.done(bench.group.broadcast(operand, GroupRank{root}));
    for (std::size_t i = 0; i < elements; ++i) {
      bench.expect(operand, i, element_bits(bench.seed, from, i, bench.dtype), "broadcast");
    }
  }
}

/// Elements from member i to member j, row by row.
using Matrix = std::vector<std::size_t>;

Matrix even_matrix(std::uint32_t size, std::size_t part) {
  return Matrix(std::size_t{size} * size, part);
}

Matrix uneven_matrix(std::uint32_t size, std::size_t part) {
  Matrix counts;
  for (std::uint32_t from = 0; from < size; ++from) {
    const auto row = uneven_counts(size, part + from);
    counts.insert(counts.end(), row.begin(), row.end());
  }
  return counts;
}

/// Nearly everything goes from one member to one other (or itself), single elements elsewhere.
Matrix lopsided_matrix(std::uint32_t size, std::size_t part) {
  Matrix counts(std::size_t{size} * size);
  for (std::size_t i = 0; i < counts.size(); ++i) counts[i] = part > 1 && i % 3 == 0 ? 1 : 0;
  counts[part % counts.size()] = part * (size - 1) + part / 2;
  return counts;
}

std::size_t row_sum(const Matrix& counts, std::uint32_t size, std::uint32_t from,
                    std::uint32_t before) {
  const auto row = counts.begin() + std::ptrdiff_t{from} * size;
  return std::accumulate(row, row + before, std::size_t{0});
}

void check_exchange(Bench& bench, const Matrix& counts, bool plain, Home in, Home out) {
  const std::uint32_t size = bench.group.size();
  const std::uint32_t self = bench.group.rank().index();
  const std::string what = plain ? "all_to_all" : "all_to_allv";
  std::size_t received = 0;
  for (std::uint32_t from = 0; from < size; ++from) received += counts[from * size + self];
  const Tensor input = bench.operand(in, row_sum(counts, size, self, size), false);
  bench.fill(input);
  const Tensor output = bench.operand(out, received, true);
  bench.done(plain ? bench.group.all_to_all(input, output)
                   : bench.group.all_to_allv(input, output, counts));
  std::size_t position = 0;
  for (std::uint32_t from = 0; from < size; ++from) {
    const WorldRank sender = bench.group.to_world(GroupRank{from});
    const std::size_t first = row_sum(counts, size, from, self);
    for (std::size_t i = 0; i < counts[from * size + self]; ++i) {
      bench.expect(output, position++, element_bits(bench.seed, sender, first + i, bench.dtype),
                   what);
    }
  }
  for (std::size_t i = 0; i < input.elements; ++i) {
    bench.expect(input, i, element_bits(bench.seed, bench.rank, i, bench.dtype),
                 "input of " + what);
  }
}

void expect_no_exchange_in_place(Bench& bench, std::size_t part, Home home) {
  const std::size_t elements = std::max<std::size_t>(part, 1) * bench.group.size();
  const Tensor both = bench.operand(home, elements, false);
  try {
    bench.done(bench.group.all_to_all(both, both));
  } catch (const Error& error) {
    if (error.code() == ErrorCode::usage) return;
    throw;
  }
  throw std::runtime_error("all_to_all in place was not refused");
}

/// Every member hears the same refusal, and the next call works.
void check_refused_reduction(Bench& bench, std::size_t elements, ReduceOp op, Home home) {
  const Tensor both = bench.operand(home, elements, false);
  try {
    bench.done(bench.group.all_reduce(both, op));
  } catch (const Error& error) {
    const std::string_view text = error.what();
    const bool says_why = text.find("dtype_unsupported") != text.npos &&
                          text.find(to_string(bench.dtype)) != text.npos;
    if (error.code() == ErrorCode::usage && says_why) return;
    throw;
  }
  throw std::runtime_error("a reduction of " + std::string(to_string(bench.dtype)) +
                           " was not refused");
}

/// Every member sends to the member `step` places on and receives from the one as far back: rings
/// of messages, and with half the group's size pairs that cross.
void check_messages(Bench& bench, std::size_t elements, Home in, Home out) {
  const std::uint32_t size = bench.group.size();
  const std::uint32_t self = bench.group.rank().index();
  for (std::uint32_t step = 1; step < size;
       step += step < 2 || step + 1 == size ? 1 : size - 1 - step) {
    const GroupRank from{(self + size - step) % size};
    const std::size_t received = elements + from.index() % 2;
    const Tensor input = bench.operand(in, elements + self % 2, false);
    bench.fill(input);
    const Tensor output = bench.operand(out, received, true);
    bench.done(bench.group.send(input, GroupRank{(self + step) % size}));
    bench.done(bench.group.recv(output, from));
    for (std::size_t i = 0; i < received; ++i) {
      bench.expect(output, i, element_bits(bench.seed, bench.group.to_world(from), i, bench.dtype),
                   "recv");
    }
  }
}

void check_uneven(Bench& bench, std::size_t part, Home in, Home out) {
  const std::uint32_t size = bench.group.size();
  const std::vector<std::size_t> one_has_all = lopsided_counts(size, part * size, 0);
  const std::vector<std::size_t> one_has_most = lopsided_counts(size, part * size, part / 100 + 1);
  check_gather(bench, one_has_all, false, in, out);
  check_gather(bench, one_has_most, false, in, out);
  check_scatter(bench, one_has_all, false, ReduceOp::sum, in, out);
  check_scatter(bench, one_has_most, false, ReduceOp::sum, in, out);
  check_exchange(bench, uneven_matrix(size, part), false, in, out);
  check_exchange(bench, lopsided_matrix(size, part), false, in, out);
  expect_no_exchange_in_place(bench, part, in);
  if (bench.sends_messages()) check_messages(bench, part * size, in, out);
}

void check_part_size(Bench& bench, std::size_t part, Home in, Home out) {
  const std::uint32_t size = bench.group.size();
  const std::vector<std::size_t> even(size, part);
  const std::vector<std::size_t> uneven = uneven_counts(size, part);
  check_gather(bench, even, true, in, out);
  check_gather(bench, uneven, false, in, out);
  check_exchange(bench, even_matrix(size, part), true, in, out);
  // What is left to show about moving bytes, two widths of elements show.
  if (bench.dtype == DType::f32 || bench.dtype == DType::u8) check_uneven(bench, part, in, out);
  check_broadcast(bench, part, in);
  for (const ReduceOp op : kReduceOps) {
    if (!is_reducible(bench.dtype)) {
      check_refused_reduction(bench, part, op, in);
      continue;
    }
    ++bench.seed;
    check_all_reduce(bench, part, op, in, out);
    check_scatter(bench, even, true, op, in, out);
    check_scatter(bench, uneven, false, op, in, out);
  }
  bench.done(bench.group.barrier());
}

}  // namespace

Plan collective_plan(const Layout& layout, const PlanOptions& options) {
  Plan plan(layout, options);
  std::vector<GroupKind> kinds = {GroupKind::world, GroupKind::tp, GroupKind::attn_tp,
                                  GroupKind::attn_cp, GroupKind::attn};
  for (const DType dtype : kDTypes) {
    for (const char* role : {"first", "second"}) {
      static_cast<void>(
          plan.slot(std::string(to_string(dtype)) + "_" + role, {.groups = kinds,
                                                                 .dtype = dtype,
                                                                 .rows_max = kElementsMax,
                                                                 .row_elements = 1,
                                                                 .depth = 2}));
    }
  }
  if (options.memory != Memory::host) return plan;  // it has no messages
  for (const GroupKind kind : kinds) plan.send_recv(kind);
  return plan;
}

std::byte* OperandAccess::outside(bool second, std::size_t bytes) {
  std::vector<std::byte>& memory = outside_[second ? 1 : 0];
  memory.resize(bytes);
  return memory.data();
}

void OperandAccess::write(void* to, const void* from, std::size_t bytes) {
  if (bytes != 0) std::memcpy(to, from, bytes);
}

void OperandAccess::read(void* to, const void* from, std::size_t bytes) {
  if (bytes != 0) std::memcpy(to, from, bytes);
}

void check_collectives(Session& session, WorldRank rank, std::uint64_t seed) {
  OperandAccess host;
  check_collectives(session, rank, seed, host, {});
}

void check_collectives(Session& session, WorldRank rank, std::uint64_t seed, OperandAccess& access,
                       Stream stream) {
  std::uint32_t turn = 0;
  for (const std::size_t part : kPartElements) {
    for (const DType dtype : kDTypes) {
      for (const GroupKind kind : {GroupKind::tp, GroupKind::attn_tp, GroupKind::attn_cp,
                                   GroupKind::attn, GroupKind::world}) {
        // Groups differ in their members, types in their width: not every pair has to meet.
        const bool both_rare = dtype > DType::i64 && kind > GroupKind::tp && part > 65;
        if (both_rare && kind != GroupKind::attn_cp) continue;
        // Every pair of homes comes up over the sweep; all of them in every place would take long.
        const Home in = kHomes[turn % kHomes.size()];
        const Home out = kHomes[turn / kHomes.size() % kHomes.size()];
        ++turn;
        const bool on_host = session.plan().options().memory == Memory::host;
        const Group group = session.group(kind);
        Bench bench(session, on_host ? group : group.on(stream), rank, dtype, seed + turn * 16,
                    access);
        check_part_size(bench, part, in, out);
      }
    }
  }
}

}  // namespace cohort::contract
