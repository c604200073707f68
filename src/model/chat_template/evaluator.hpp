#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

#include "model/chat_template/syntax.hpp"

namespace cohort::jinja {

/// How often all loops of one run may go round, and how long its output or any string may become: a
/// template comes with a model, and must not be able to exhaust memory.
inline constexpr std::uint32_t kIterationCountMax = 100'000;
inline constexpr std::size_t kTextBytesMax = std::size_t{64} << 20;

/// How much work one run may be, in bytes of strings that expressions yield; each expression counts
/// for `kExpressionWork` besides. Nested loops over long strings would go on for days else.
inline constexpr std::uint64_t kWorkMax = std::uint64_t{1} << 30;
inline constexpr std::uint64_t kExpressionWork = 256;

/// What `program` prints, given `variables`. Local.
/// Throws: Error{unsupported} naming line and column for what jinja2 would refuse as well (members
/// of undefined values, sums of different types), for values without a printed form here (lists and
/// mappings), and past the limits above.
std::string evaluate(const Block& program, std::map<std::string, Value> variables);

}  // namespace cohort::jinja
