#include "collectives/call_check.hpp"

#include <numeric>

#include "collectives/rms_norm.hpp"

namespace cohort::collectives {
namespace {

std::string sizes(const char* what, std::size_t actual, const char* wanted_name,
                  std::size_t wanted) {
  return std::string(what) + " has " + std::to_string(actual) + " elements, " + wanted_name +
         " is " + std::to_string(wanted);
}

std::optional<std::string> find_counts_fault(const Call& call, std::uint32_t size) {
  if (!has_counts(call.op)) return std::nullopt;
  const std::size_t wanted = call.op == Op::all_to_allv ? std::size_t{size} * size : size;
  if (call.counts.size() != wanted) {
    return "counts has " + std::to_string(call.counts.size()) + " entries for a group of " +
           std::to_string(size) + (wanted == size ? "" : ", " + std::to_string(wanted) + " wanted");
  }
  std::size_t total = 0;
  for (const std::size_t count : call.counts) {
    if (__builtin_add_overflow(total, count, &total)) return "counts add up to more than memory";
  }
  if (__builtin_mul_overflow(total, bytes_of(call.dtype), &total)) {
    return "counts add up to more than memory";
  }
  return std::nullopt;
}

std::optional<std::string> find_exchange_fault(const Call& call, std::uint32_t size,
                                               std::uint32_t self) {
  if (call.op == Op::all_to_all) {
    if (call.input.elements % size != 0) {
      return "input has " + std::to_string(call.input.elements) +
             " elements, which is no multiple of the group's size " + std::to_string(size);
    }
    if (call.output.elements == call.input.elements) return std::nullopt;
    return sizes("output", call.output.elements, "the input", call.input.elements);
  }
  std::size_t sent = 0;
  for (std::uint32_t to = 0; to < size; ++to) sent += sent_part(call, size, self, to).count;
  if (call.input.elements != sent) {
    return sizes("input", call.input.elements, "the sum of this rank's row of counts", sent);
  }
  const std::size_t received = received_begin(call, size, size, self);
  if (call.output.elements != received) {
    return sizes("output", call.output.elements, "the sum of this rank's column of counts",
                 received);
  }
  return std::nullopt;
}

std::optional<std::string> find_size_fault(const Call& call, std::uint32_t size,
                                           std::uint32_t self) {
  if (auto fault = find_counts_fault(call, size)) return fault;
  const std::size_t total = std::accumulate(call.counts.begin(), call.counts.end(), std::size_t{0});
  switch (call.op) {
    case Op::all_reduce:
      if (call.input.elements != call.output.elements) {
        return sizes("output", call.output.elements, "the input", call.input.elements);
      }
      return std::nullopt;
    case Op::all_gather:
      if (call.output.elements != call.input.elements * size) {
        return sizes("output", call.output.elements, "group size x input",
                     call.input.elements * size);
      }
      return std::nullopt;
    case Op::reduce_scatter:
      if (call.input.elements != call.output.elements * size) {
        return sizes("input", call.input.elements, "group size x output",
                     call.output.elements * size);
      }
      return std::nullopt;
    case Op::all_gatherv:
      if (call.input.elements != call.counts[self]) {
        return sizes("input", call.input.elements, "this rank's count", call.counts[self]);
      }
      if (call.output.elements != total) {
        return sizes("output", call.output.elements, "the sum of counts", total);
      }
      return std::nullopt;
    case Op::reduce_scatterv:
      if (call.output.elements != call.counts[self]) {
        return sizes("output", call.output.elements, "this rank's count", call.counts[self]);
      }
      if (call.input.elements != total) {
        return sizes("input", call.input.elements, "the sum of counts", total);
      }
      return std::nullopt;
    case Op::broadcast:
      if (call.root.index() >= size) {
        return "root " + std::to_string(call.root.index()) + " in a group of " +
               std::to_string(size);
      }
      return std::nullopt;
    case Op::all_to_all:
    case Op::all_to_allv: return find_exchange_fault(call, size, self);
    case Op::send:
    case Op::recv:
    case Op::barrier: return std::nullopt;
  }
  return std::nullopt;
}

/// In place means: the very same memory, or the rank's own part of the larger operand.
bool overlaps_badly(const Call& call, std::uint32_t self) noexcept {
  const std::size_t element = bytes_of(call.dtype);
  const auto input = reinterpret_cast<std::uintptr_t>(call.input.data);
  const auto output = reinterpret_cast<std::uintptr_t>(call.output.data);
  const std::size_t input_bytes = call.input.elements * element;
  const std::size_t output_bytes = call.output.elements * element;
  if (input_bytes == 0 || output_bytes == 0) return false;
  if (input + input_bytes <= output || output + output_bytes <= input) return false;
  // Peers read every part of the input while this rank writes the output. A swap in place would
  // need memory for what has to give way, and what is legal must not depend on the path.
  if (is_all_to_all(call.op) || call.device_counts != nullptr) return true;
  const std::size_t own = part_begin(call, self) * element;
  switch (call.op) {
    case Op::all_gather:
    case Op::all_gatherv: return input != output + own;
    case Op::reduce_scatter:
    case Op::reduce_scatterv: return output != input + own;
    default: return input != output;
  }
}

}  // namespace

std::size_t part_elements(const Call& call, std::uint32_t self) noexcept {
  if (has_counts(call.op)) return call.counts[self];
  return call.op == Op::all_gather ? call.input.elements : call.output.elements;
}

std::size_t part_begin(const Call& call, std::uint32_t self) noexcept {
  if (!has_counts(call.op)) return part_elements(call, self) * self;
  return std::accumulate(call.counts.begin(), call.counts.begin() + self, std::size_t{0});
}

Part sent_part(const Call& call, std::uint32_t size, std::uint32_t from,
               std::uint32_t to) noexcept {
  if (call.op == Op::all_to_all) {
    const std::size_t count = call.input.elements / size;
    return {count * to, count};
  }
  const auto row = call.counts.subspan(std::size_t{from} * size, size);
  return {std::accumulate(row.begin(), row.begin() + to, std::size_t{0}), row[to]};
}

std::size_t received_begin(const Call& call, std::uint32_t size, std::uint32_t from,
                           std::uint32_t self) noexcept {
  std::size_t begin = 0;
  for (std::uint32_t member = 0; member < from; ++member) {
    begin += call.op == Op::all_to_all ? call.input.elements / size
                                       : call.counts[std::size_t{member} * size + self];
  }
  return begin;
}

std::optional<std::string> find_fault(const Call& call, std::uint32_t size, std::uint32_t self) {
  if (call.op == Op::barrier) return std::nullopt;
  if (call.input.dtype != call.output.dtype) {
    return "input is " + std::string(to_string(call.input.dtype)) + ", output is " +
           std::string(to_string(call.output.dtype));
  }
  if (is_reduction(call.op) && !is_reducible(call.input.dtype)) {
    return "dtype_unsupported: there is no reduction of " +
           std::string(to_string(call.input.dtype)) + "; " +
           std::string(explain(Reason::dtype_unsupported));
  }
  if (call.input.data == nullptr && call.input.elements != 0) return "input is null";
  if (call.output.data == nullptr && call.output.elements != 0) return "output is null";
  if (auto fault = find_size_fault(call, size, self)) return fault;
  if (overlaps_badly(call, self)) {
    if (is_all_to_all(call.op) || call.device_counts != nullptr) {
      return "input and output overlap, and " + std::string(to_string(named_op(call))) +
             (call.device_counts != nullptr ? " with counts on the device" : "") +
             " has no in-place form; give it an output of its own";
    }
    return "input and output overlap, but not as an in-place call";
  }
  if (call.norm == nullptr) return std::nullopt;
  return find_fault(*call.norm, call.output.elements, call.dtype);
}

}  // namespace cohort::collectives
