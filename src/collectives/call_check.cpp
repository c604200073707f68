#include "collectives/call_check.hpp"

#include <numeric>

namespace cohort::collectives {
namespace {

std::string sizes(const char* what, std::size_t actual, const char* wanted_name,
                  std::size_t wanted) {
  return std::string(what) + " has " + std::to_string(actual) + " elements, " + wanted_name +
         " is " + std::to_string(wanted);
}

std::optional<std::string> find_size_fault(const Call& call, std::uint32_t size,
                                           std::uint32_t self) {
  if (has_counts(call.op) && call.counts.size() != size) {
    return "counts has " + std::to_string(call.counts.size()) + " entries for a group of " +
           std::to_string(size);
  }
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

std::optional<std::string> find_fault(const Call& call, std::uint32_t size, std::uint32_t self) {
  if (call.op == Op::barrier) return std::nullopt;
  if (call.input.dtype != call.output.dtype) {
    return "input is " + std::string(to_string(call.input.dtype)) + ", output is " +
           std::string(to_string(call.output.dtype));
  }
  if (call.input.data == nullptr && call.input.elements != 0) return "input is null";
  if (call.output.data == nullptr && call.output.elements != 0) return "output is null";
  if (auto fault = find_size_fault(call, size, self)) return fault;
  if (overlaps_badly(call, self)) {
    return "input and output overlap, but not as an in-place call";
  }
  return std::nullopt;
}

}  // namespace cohort::collectives
