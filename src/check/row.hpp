#pragma once

// What `cohort check` says about one property of the machine.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace cohort::check {

enum class Status : std::uint8_t {
  ok,
  warning,  ///< ranks run, but slower or with less help than they could
  problem,  ///< ranks, or arenas of the wanted size, are impossible
};

constexpr std::string_view to_string(Status status) noexcept {
  switch (status) {
    case Status::ok: return "ok";
    case Status::warning: return "warning";
    case Status::problem: return "problem";
  }
  return "";
}

struct Row {
  std::string name;   ///< stable: scripts look for it
  std::string value;  ///< what was found
  Status status = Status::ok;
  std::string meaning;  ///< what that does to ranks
  std::string remedy;   ///< what to do about it; empty where nothing needs doing
};

/// What the machine is held against.
struct Wanted {
  std::uint32_t ranks = 2;
  std::optional<std::uint64_t> arena_bytes;  ///< of every rank
};

}  // namespace cohort::check
