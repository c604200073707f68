#include <cstring>
#include <optional>

#include "base/test_point.hpp"
#include "collectives/call_check.hpp"
#include "collectives/host/algorithms.hpp"
#include "collectives/host/reduce.hpp"

namespace cohort::host {
namespace {

using collectives::Call;

void reduce_part(Exchange& exchange, std::span<const std::byte*> operands, std::size_t begin,
                 std::size_t elements) {
  const Call& call = exchange.call();
  for (std::uint32_t member = 0; member < exchange.size(); ++member) {
    operands[member] = exchange.inline_operand(member) + begin * exchange.element_bytes();
  }
  reduce_in_mode(operands, static_cast<std::byte*>(call.output.data), elements, call.dtype,
                 call.reduce_op);
}

void gather_parts(Exchange& exchange) {
  const Call& call = exchange.call();
  auto* output = static_cast<std::byte*>(call.output.data);
  for (std::uint32_t member = 0; member < exchange.size(); ++member) {
    const std::size_t bytes = collectives::part_elements(call, member) * exchange.element_bytes();
    if (bytes != 0) std::memcpy(output, exchange.inline_operand(member), bytes);
    output += bytes;
  }
}

void exchange_parts(Exchange& exchange) {
  const Call& call = exchange.call();
  const std::size_t element = exchange.element_bytes();
  auto* output = static_cast<std::byte*>(call.output.data);
  for (std::uint32_t member = 0; member < exchange.size(); ++member) {
    const auto part = collectives::sent_part(call, exchange.size(), member, exchange.self());
    if (part.count == 0) continue;
    std::memcpy(output, exchange.inline_operand(member) + part.begin * element,
                part.count * element);
    output += part.count * element;
  }
}

}  // namespace

void run_inline(Exchange& exchange, std::span<const std::byte*> operands) {
  std::optional<FloatMode> mode;  // before the wait, which hides what it costs
  if (collectives::is_reduction(exchange.call().op)) mode.emplace();
  if (!exchange.arrive_all()) return;
  test_point("call.read");
  const Call& call = exchange.call();
  switch (call.op) {
    case Op::all_reduce: reduce_part(exchange, operands, 0, call.output.elements); return;
    case Op::reduce_scatter:
    case Op::reduce_scatterv:
      reduce_part(exchange, operands, collectives::part_begin(call, exchange.self()),
                  call.output.elements);
      return;
    case Op::all_gather:
    case Op::all_gatherv: gather_parts(exchange); return;
    case Op::all_to_all:
    case Op::all_to_allv: exchange_parts(exchange); return;
    case Op::broadcast: {
      const std::size_t bytes = call.output.elements * exchange.element_bytes();
      if (exchange.self() == call.root.index() || bytes == 0) return;
      std::memcpy(call.output.data, exchange.inline_operand(call.root.index()), bytes);
      return;
    }
    case Op::send:
    case Op::recv:
    case Op::barrier: return;
  }
}

}  // namespace cohort::host
